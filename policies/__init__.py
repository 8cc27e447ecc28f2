"""Policies: what proposes actions, chooses among proposals, and is fine-tuned."""

if __name__ != "robopref.policies":
    raise ImportError(
        "Import robopref.policies, not policies: two names would make two copies of every class."
    )

from robopref.registry import Registry

POLICIES = Registry("policy", "robopref.policies")
POLICIES.register(
    "diffusion",
    "robopref.policies.diffusion:DiffusionPolicyConfig",
    "Action chunks by denoising (Diffusion Policy).",
)
POLICIES.register(
    "quality-diffusion",
    "robopref.policies.quality:QualityDiffusionConfig",
    "The same, told to act well (classifier-free guidance).",
)
POLICIES.register(
    "primitive-diffusion",
    "robopref.policies.primitive_diffusion:PrimitiveDiffusionConfig",
    "Two points of an action primitive on a point cloud, by denoising (DeformPAM).",
)
POLICIES.register(
    "gaussian",
    "robopref.policies.gaussian:GaussianPolicyConfig",
    "One action at a time, Gaussian around a bounded mean; what IQL trains.",
)

DENOISERS = Registry("denoiser", "robopref.denoisers")
DENOISERS.register(
    "mlp",
    "robopref.policies.mlp_denoiser:MLPDenoiserConfig",
    "Residual MLP over the whole chunk: the fastest for states.",
)
DENOISERS.register(
    "transformer",
    "robopref.policies.transformer_denoiser:TransformerDenoiserConfig",
    "Attention among the actions of a chunk.",
)
DENOISERS.register(
    "unet",
    "robopref.policies.unet_denoiser:UNetDenoiserConfig",
    "Convolutions along the chunk, as in Diffusion Policy and LeRobot.",
)

__all__ = ["DENOISERS", "POLICIES"]
