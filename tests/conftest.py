import pytest

LONG = "test_chain", "test_readme", "test_kaggle", "test_models"


def pytest_collection_modifyitems(items):
    """Long files first, so that at the end no worker waits for another."""
    items.sort(key=lambda item: item.path.stem not in LONG)


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """A small data set of little films, made once."""
    from kit.sample import write_sample

    folder = tmp_path_factory.mktemp("data") / "sample"
    return str(write_sample(folder, seed=1000, num_videos=120))
