"""Reward models learned from preferences, and the trivial ones they are checked against."""

if __name__ != "robopref.rewards":
    raise ImportError(
        "Import robopref.rewards, not rewards: two names would make two copies of every class."
    )

from robopref.registry import Registry

REWARDS = Registry("reward", "robopref.rewards")
REWARDS.register(
    "mlp", "robopref.rewards.mlp:MLPRewardConfig", "Bradley-Terry ensemble of MLPs on chunks."
)
REWARDS.register(
    "preference-transformer",
    "robopref.rewards.preference_transformer:PreferenceTransformerConfig",
    "Causal transformers with a learned weight for each step.",
)
REWARDS.register(
    "criteria",
    "robopref.rewards.criteria:CriteriaRewardConfig",
    "A reward for each criterion, all of which have to be satisfied.",
)
REWARDS.register("random", "robopref.rewards.trivial:RandomRewardConfig", "Control: fixed noise.")
REWARDS.register("zero", "robopref.rewards.trivial:ZeroRewardConfig", "Control: 0 everywhere.")

__all__ = ["REWARDS"]
