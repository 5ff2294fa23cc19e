import pytest


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """A small data set of little films, made once."""
    from kit.sample import write_sample

    folder = tmp_path_factory.mktemp("data") / "sample"
    return str(write_sample(folder, seed=1000, num_videos=120))
