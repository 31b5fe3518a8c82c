"""Files that run code when they are read, and so are not."""

from pathlib import Path

from tiebreak.errors import EvidenceError

PICKLED = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".p")


def refuse_pickle(path: Path, content: str = "a pickle") -> EvidenceError:
    """What to say of a file that runs code when it is read: the two lines that write one that does not."""
    return EvidenceError(
        f"{path} is {content}, which can run code when it is read, so it is not. Convert it where you trust "
        f'it: np.savez("{path.stem}.npz", predictions=np.asarray(PREDICTIONS), labels=np.asarray(LABELS)), '
        f'or table.to_parquet("{path.stem}.parquet").'
    )
