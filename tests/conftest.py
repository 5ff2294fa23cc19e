import pytest


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """A small simulated data set, made once."""
    from kit import synthetic

    folder = tmp_path_factory.mktemp("data") / "sample"
    return str(synthetic.write_sample(folder, seed=1000, num_videos=120))


@pytest.fixture
def read_ahead(monkeypatch):
    """Has small files read by another process too, some bytes at a time."""
    from kit.data import ahead

    resting = []

    def read(chunk):
        monkeypatch.setattr(ahead, "LEAST", 0)
        monkeypatch.setattr(ahead, "CHUNK", chunk)
        monkeypatch.setattr(ahead, "_resting", resting)

    yield read
    for reader in resting:
        reader.close()
