"""The README says what the code says."""

import re
from pathlib import Path

from kit import presets

README = Path("README.md").read_text()


def test_the_table_of_members_is_that_of_the_presets():
    rows = re.findall(r"^\| `(\S+)` \| ([^|]+) \|(.*)\|$", README, re.MULTILINE)
    table = {name: (title, rest.split("|")) for name, title, rest in rows}
    members = {k: v for k, v in table.items() if k in presets.MEMBERS}
    assert list(members) == list(presets.MEMBERS)
    for name, (title, cells) in members.items():
        member = presets.MEMBERS[name]
        frames, shifts, weight, public, private = map(str.strip, cells)
        assert title == member.title
        assert int(frames) == member.num_frames
        assert tuple(map(int, shifts.split(" to "))) == member.shifts
        assert float(weight) == member.weight
        assert float(public) == member.public
        assert float(private) == member.private


def test_every_path_it_names_exists():
    for path in re.findall(r"`((?:kit|tests|notebooks)/[\w/.]+)`", README):
        assert Path(path).exists(), path


def test_every_make_target_it_names_exists():
    targets = set(re.findall(r"^([\w-]+):", Path("Makefile").read_text(), re.M))
    text = README + Path("CONTRIBUTING.md").read_text()
    named = set(re.findall(r"^make ([\w-]+)", README, re.M))
    named |= set(re.findall(r"`make ([\w-]+)", text))
    assert named and named <= targets
