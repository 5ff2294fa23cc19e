"""The ids of a pass, each of which may come once."""

import hashlib

import numpy as np


class SeenIds:
    """The ids met in one pass, to find those met twice.

    Of each id eight bytes are kept, a hash: for all of YouTube-8M 31 MB in one
    sorted array, with a small set of the latest, where a Python set would take
    400; one of a million passes over it would take two ids for the same.

    Args:
        keys: The keys of ids met before, uint64.
    """

    def __init__(self, keys=()):
        self.sorted = np.unique(np.fromiter(keys, np.uint64))
        self.latest = set()

    @staticmethod
    def key(video_id: bytes) -> int:
        """What is kept of an id."""
        digest = hashlib.blake2b(video_id, digest_size=8).digest()
        return int.from_bytes(digest, "little")

    def add(self, video_id: bytes) -> bool:
        """Notes an id; false where it was there already."""
        key = self.key(video_id)
        if key in self.latest:
            return False
        if len(self.sorted):
            at = np.searchsorted(self.sorted, np.uint64(key))
            if at < len(self.sorted) and self.sorted[at] == key:
                return False
        self.latest.add(key)
        if len(self.latest) > 50_000:
            latest = np.fromiter(self.latest, np.uint64)
            self.sorted = np.unique(np.concatenate([self.sorted, latest]))
            self.latest = set()
        return True
