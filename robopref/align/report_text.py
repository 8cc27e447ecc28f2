"""What a report says in words: the stages of a run, and what to do next."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from robopref.align.evaluate import Evaluation
from robopref.align.loop import AlignmentLoop
from robopref.config import resolve, to_dict
from robopref.envs import BEHAVIOURS
from robopref.policies.finetune.at_run_time import is_at_run_time


class Verdict(NamedTuple):
    """What became of the policy, in words, and whether that is worse than what there was."""

    text: str
    worse: bool


def verdict(loop: AlignmentLoop, evaluations: Mapping[str, Evaluation]) -> Verdict:
    """Return what the guard found of a run's policy, and the test episodes."""
    found = loop.run.figures("aligned")
    guarded = (
        f"on validation starts the {_made(loop)} policy was worse, by success or by the learned "
        "reward."
    )
    if found["kept_base"]:
        return Verdict(
            f"The base was kept: {guarded} Ask more answers, or look at what it likes.", True
        )
    base, aligned = evaluations["base"].joint, evaluations["aligned"].joint
    if aligned.low > base.high:
        text = "Better: the joint rate after is above the one before, intervals apart."
    elif aligned.high < base.low:
        text = "Worse: the joint rate fell. Keep the policy from before, and ask more answers."
    elif aligned.value >= base.value:
        text = "Not clearly better: the intervals overlap. More answers or test episodes decide."
    else:
        text = "Not clearly worse, but lower. Keep the policy from before until more is known."
    if found["worse"]:
        text = f"Kept all the same, as --guard.keep-worse says: {guarded} {text}"
    return Verdict(text, found["worse"] or aligned.value < base.value)


def of_policies(loop: AlignmentLoop) -> dict[str, str]:
    """Return what each evaluated policy is."""
    if loop.run.figures("aligned")["kept_base"]:
        after = "the base, which was kept"
    elif _made(loop) == "steered":
        method = to_dict(loop.config)["method"]["type"]
        after = f"the same policy, steered at each decision by {method}"
    else:
        after = "fine-tuned, acting alone"
    return {
        "base": "cloned from the demonstrations",
        "selected": "the same policy, its proposals chosen by the learned reward",
        "aligned": after,
    }


def _made(loop: AlignmentLoop) -> str:
    """Return what the method makes of a policy, as a participle."""
    return "steered" if is_at_run_time(resolve(loop.config, "method")) else "fine-tuned"


def stage_rows(loop: AlignmentLoop) -> list[dict[str, Any]]:
    """Return name, duration [s] and description of each stage that was done."""
    config = loop.config
    words = {
        "demonstrations": _demonstrations(loop),
        "base": "diffusion policy cloned from them",
        "pool": f"{config.num_pool_episodes} episodes of that policy to ask about",
        "critic": "critic that foretells the reward of what the cameras will see, from the pool",
        "labels": f"{config.num_labels} labels, the reward fitted again between rounds",
        "reward": "reward fitted to all answers",
        "aligned": f"the {_made(loop)} policy beside the base, on validation starts",
        "selection": "the aligned policy with best-of-N on top of it, on validation starts",
    }
    for number in range(1, loop.rounds.num_rounds + 1):
        words[f"round-{number}"] = _round(loop, number)
    return [
        {
            "name": name, "seconds": stage["seconds"],
            "what": words.get(name, f"{config.num_test_episodes} test episodes"),
        }
        for name, stage in loop.run.stages.items()
    ]  # fmt: skip


def next_commands(loop: AlignmentLoop) -> str:
    """Return commands to go on with, each under a line that says what it is for."""
    config, out = loop.config, loop.directory
    same = " ".join(same_parts(config))
    given = "" if config.demonstrations is None else f" --demonstrations {config.demonstrations}"
    lines = [
        "# Measure the policy on more starts",
        f"robopref evaluate --policy {out}/aligned {same} --num-episodes 200",
        *_on_top(loop, same),
        "# Answer queries yourself, on the terminal",
        f"robopref align {same}{given} --teacher terminal --out {out}-mine",
    ]
    if hasattr(loop.behaviour, "styles"):
        behaviour = to_dict(config)["behaviour"]["type"]
        lines += [
            "# Another task",
            f"robopref align --env metaworld/drawer-close-v3 --behaviour {behaviour} "
            "--out runs/drawer",
        ]
    return "\n".join(lines)


def _on_top(loop: AlignmentLoop, same: str) -> list[str]:
    """Return the command for best-of-N on top, unless that was worse or is there already."""
    out = loop.directory
    if not loop.selection_pays():
        return []
    return [
        "# Let it choose among its proposals as it acts, which was no worse on validation starts",
        f"robopref evaluate --policy {out}/aligned --reward {out}/reward {same}",
    ]


def same_parts(config: Any) -> list[str]:
    """Return the options of a command that judges the same behaviour in the same environment."""
    words = ["--env", config.env, *_options("--behaviour", to_dict(config)["behaviour"])]
    return words if config.knows_success else [*words, "--no-knows-success"]


def _options(flag: str, chosen: dict[str, Any]) -> list[str]:
    """Return the options of a component that differ from its defaults."""
    name = chosen["type"]
    default = to_dict(BEHAVIOURS.config_class(name)())
    words = [flag, name]
    for key, value in chosen.items():
        option = f"{flag}.{key.replace('_', '-')}"
        if isinstance(value, dict):
            words += _options(option, value)
        elif key != "type" and value != default[key]:
            words += [option, *map(str, value if isinstance(value, (list, tuple)) else [value])]
    return words


def _demonstrations(loop: AlignmentLoop) -> str:
    num = loop.run.figures("demonstrations")["episodes"]
    if loop.config.demonstrations is None:
        return f"{num} scripted episodes"
    return f"{num} episodes of {loop.config.demonstrations}"


def _round(loop: AlignmentLoop, number: int) -> str:
    if not loop.rounds.records_selected:
        num = len(loop.store(f"rounds/{number}/pool"))
        return f"{num} episodes; policy fine-tuned by {to_dict(loop.config)['method']['type']}"
    num = len(loop.store(f"rounds/{number}/selection"))
    return f"{num} episodes with best-of-N; policy fine-tuned on the best of them"
