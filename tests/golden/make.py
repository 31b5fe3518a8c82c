"""Make the golden files of this machine anew: `python tests/golden/make.py`. CONTRIBUTING.md says when."""

from golden_files import CAPABILITY, VARIANTS, compute, far, moved, read, stored


def main() -> None:
    """Write one file a variant and tell what moved; remove files made elsewhere that tell of older code."""
    possible = [variant for variant in VARIANTS if CAPABILITY == "AVX512" or not variant.avx2]
    made = {now.path: now for now in map(compute, possible)}
    has_moved = False
    for path, now in made.items():
        changes = moved(read(path), now) if path.is_file() else []
        has_moved |= bool(changes)
        print(f"{path.name}: {len(changes)} values moved", *changes[:10], sep="\n  ")
        now.write()
    for golden in stored():
        if golden.path not in made and (has_moved or any(far(golden, now) for now in made.values())):
            golden.path.unlink()
            print(f"{golden.path.name}: removed; made on another processor or version, by the code before")


if __name__ == "__main__":
    main()
