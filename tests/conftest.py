import pytest


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """A small simulated data set, made once."""
    from kit import synthetic

    folder = tmp_path_factory.mktemp("data") / "sample"
    return str(synthetic.write_sample(folder, seed=1000, num_videos=120))
