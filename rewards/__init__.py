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
    "robust-mlp",
    "robopref.rewards.robust:RobustMLPConfig",
    "MLPs that say a mean and a deviation (RRL of PEARL).",
)
REWARDS.register(
    "robust-transformer",
    "robopref.rewards.robust:RobustTransformerConfig",
    "Preference Transformers that say a mean and a deviation (RRL of PEARL).",
)
REWARDS.register(
    "criteria",
    "robopref.rewards.criteria:CriteriaRewardConfig",
    "A reward for each criterion, all of which have to be satisfied.",
)
REWARDS.register(
    "rapl",
    "robopref.rewards.rapl:RAPLConfig",
    "Features aligned by rankings, optimal transport to preferred clips (RAPL).",
)
REWARDS.register(
    "rapl-plus",
    "robopref.rewards.rapl:RAPLPlusConfig",
    "RAPL with order, all comparisons, augmented views, an ensemble.",
)
REWARDS.register(
    "visual-rlhf",
    "robopref.rewards.visual_rlhf:VisualRLHFConfig",
    "Bradley-Terry ensemble on the features of frames.",
)
REWARDS.register(
    "visual-set",
    "robopref.rewards.visual_set:VisualSetConfig",
    "Similarity of whole clips to preferred ones (SARA).",
)
REWARDS.register(
    "visual-imagenet-ot",
    "robopref.rewards.visual_matching:ImageNetOTConfig",
    "Optimal transport to preferred clips, features as they are.",
)
REWARDS.register(
    "visual-temporal-ot",
    "robopref.rewards.visual_matching:TemporalOTConfig",
    "The same with temporal windows (TemporalOT).",
)
REWARDS.register(
    "visual-tcc-ot",
    "robopref.rewards.visual_matching:TCCOTConfig",
    "The same on features aligned by temporal cycle consistency (TCC).",
)
REWARDS.register("random", "robopref.rewards.trivial:RandomRewardConfig", "Control: fixed noise.")
REWARDS.register("zero", "robopref.rewards.trivial:ZeroRewardConfig", "Control: 0 everywhere.")

TRANSFERS = Registry("transfer method", "robopref.transfers")
TRANSFERS.register(
    "shared-features",
    "robopref.rewards.shared_features:SharedFeaturesConfig",
    "A linear reward on features that mean the same in every task, corrected by target answers.",
)
TRANSFERS.register(
    "cpa",
    "robopref.rewards.pearl:CPAConfig",
    "Gromov-Wasserstein alignment of segments (PEARL).",
)
TRANSFERS.register(
    "fused-cpa",
    "robopref.rewards.pearl:FusedCPAConfig",
    "The same, with features compared across the tasks as well.",
)
TRANSFERS.register(
    "nearest",
    "robopref.rewards.nearest:NearestConfig",
    "The labels of the source segment that looks most alike.",
)

SCORERS = Registry("action scorer", "robopref.scorers")
SCORERS.register(
    "ranked-candidates",
    "robopref.rewards.deformpam:CandidateRewardConfig",
    "Ensemble that looks at a point cloud and an action, fitted to rankings of candidates.",
)
SCORERS.register(
    "critic",
    "robopref.rewards.critic:CriticConfig",
    "Ensemble that foretells the rewards after a chunk, for rewards that judge what happened.",
)

__all__ = ["REWARDS", "SCORERS", "TRANSFERS"]
