"""Who acts in a run of DeformPAM's loop, before and after its rounds, by what it left on disk."""

from pathlib import Path

from robopref.align.actors import find_saved
from robopref.align.run import CONFIG
from robopref.config import load_yaml
from robopref.deform.actors import ChooserSpec
from robopref.deform.config import DeformConfig, best_of
from robopref.errors import DataError


def spec_after(config: DeformConfig, directory: Path, number: int, name: str) -> ChooserSpec:
    """Return who acts after a round of a run; before the first, the cloned policy by itself.

    Args:
        config: Of the run.
        directory: Its folder.
        number: Of the round; 0 before the first.
        name: Kept with every episode.
    """
    base = directory / "base" / "policy"
    if number == 0:
        return ChooserSpec((base,), best_of(config.num_candidates), stop=config.stop, name=name)
    stage = "outcomes" if config.use_outcomes else "tuned"
    tuned = directory / f"{stage}-{number}" / "policy"
    return ChooserSpec(
        (tuned, base) if config.proposes_tuned else (base,), config.selection, config.reward,
        base, tuned, directory / f"explicit-{number}" / "reward",
        directory / f"weights-{number}.json", stop=config.stop, name=name,
    )  # fmt: skip


def saved_spec(run: Path, name: str) -> ChooserSpec:
    """Return who acts in the place of a saved run: its aligned policy, or a policy by itself.

    Args:
        run: Folder of a run of `robopref deform`, or of a policy of primitives.
        name: Kept with every episode.

    Raises:
        DataError: The run was not finished.
        FileNotFoundError: There is neither.
    """
    if not (run / "base").is_dir():
        return ChooserSpec((find_saved(run, "policy"),), name=name)
    config = load_yaml(DeformConfig, run / CONFIG)
    spec = spec_after(config, run, config.num_rounds, name)
    folders = (*spec.proposers, spec.tuned, spec.explicit)
    parts = [folder / "config.json" for folder in folders if folder is not None]
    for part in (*parts, spec.weights):
        if part is not None and not part.is_file():
            raise DataError(
                f"The run in '{run}' is not finished: '{part}' is missing. Run the same command "
                f"again to go on, or give '{run / 'base'}' for its cloned policy."
            )
    return spec
