import pytest


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """A small data set of little films, made once."""
    from kit.sample import write_sample

    folder = tmp_path_factory.mktemp("data") / "sample"
    return str(write_sample(folder, seed=1000, num_videos=120))


def pytest_collection_modifyitems(items):
    """Slow tests begin, so that no worker waits for the last of another."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
