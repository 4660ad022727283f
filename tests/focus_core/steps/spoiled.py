"""A flight that nobody can explain."""

import shutil


def spoiled(field, folder, name):
    """A copy of a flight whose first raw cube was cut off in the transfer."""
    shutil.copytree(field / "flight-2", folder / name)
    path = folder / name / "campaign.yaml"
    path.write_text(path.read_text().replace("simulated-flight-2", name))
    raw = raw_cube(path.parent)
    raw.write_bytes(raw.read_bytes()[:1000])
    return path


def mended(field, path):
    """Put the raw cube of a spoiled flight back, as a second transfer would."""
    whole = raw_cube(field / "flight-2")
    shutil.copy(whole, path.parent / whole.name)


def raw_cube(folder):
    return max(sorted(folder.glob("*.*")), key=lambda item: item.stat().st_size)
