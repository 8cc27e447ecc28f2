"""Ways to move a policy towards what is preferred: one family a file."""

from robopref.registry import Registry

FINETUNE = Registry("fine-tuning method", "robopref.finetune")
FINETUNE.register(
    "best-of-n",
    "robopref.policies.finetune.at_run_time:SelectConfig",
    "No new weights: the best-scored of N proposals, at each decision.",
)
FINETUNE.register(
    "guidance",
    "robopref.policies.finetune.at_run_time:GuideConfig",
    "No new weights: proposals denoised along the reward's gradient.",
)
FINETUNE.register(
    "distil",
    "robopref.policies.finetune.distil:DistilConfig",
    "Denoising loss on the chosen episodes (rejection-sampling fine-tuning).",
)
FINETUNE.register(
    "reward-weighted",
    "robopref.policies.finetune.distil:RewardWeightedConfig",
    "Denoising loss on unlabelled episodes, weighted by the learned reward.",
)
FINETUNE.register(
    "quality",
    "robopref.policies.finetune.quality:QualityConfig",
    "Tell good from bad in training, and sample with good (C-RLFT).",
)
FINETUNE.register(
    "dpo",
    "robopref.policies.finetune.dpo:DPOConfig",
    "Diffusion-DPO on pairs, safeguarded and anchored.",
)
FINETUNE.register(
    "plackett-luce",
    "robopref.policies.finetune.lists:PlackettLuceConfig",
    "Likelihood of whole rankings under the implicit reward.",
)
FINETUNE.register(
    "rank-dpo",
    "robopref.policies.finetune.lists:RankDPOConfig",
    "All pairs of a ranking, weighted by their places (RankDPO).",
)
FINETUNE.register(
    "prdp",
    "robopref.policies.finetune.regression:PRDPConfig",
    "Regression of reward differences, with a bound on the step (PRDP).",
)
FINETUNE.register(
    "irepo",
    "robopref.policies.finetune.regression:IREPOConfig",
    "Regression of the log-odds of each order (iREPO).",
)
FINETUNE.register(
    "kto",
    "robopref.policies.finetune.unpaired:KTOConfig",
    "Good and bad chunks, each by itself (Diffusion-KTO).",
)
FINETUNE.register(
    "npo",
    "robopref.policies.finetune.unpaired:NPOConfig",
    "Away from bad chunks, anchored to the good (NPO).",
)
FINETUNE.register(
    "deformpam",
    "robopref.policies.finetune.deformpam:DeformPAMConfig",
    "All pairs of ranked action candidates, as published (DeformPAM).",
)
FINETUNE.register(
    "deformpam-plus",
    "robopref.policies.finetune.deformpam:DeformPAMPlusConfig",
    "Whole rankings of action candidates, shared noise, safeguarded and anchored.",
)
FINETUNE.register(
    "dro",
    "robopref.policies.finetune.dro:DROConfig",
    "Chosen episodes above the policy's own chunks, nothing rejected (Diffusion-DRO).",
)
FINETUNE.register(
    "ppo",
    "robopref.policies.finetune.online:PPOConfig",
    "PPO on the learned reward, acting in the environment (DPPO).",
)

__all__ = ["FINETUNE"]
