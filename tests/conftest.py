import pytest


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """A small simulated data set, made once."""
    from kit.sample import write_sample

    folder = tmp_path_factory.mktemp("data") / "sample"
    return str(write_sample(folder, seed=1000, num_videos=120))
