"""Seeds for torch's generators, and random numbers from counters."""

import os

import torch

_64_BITS = 2**64 - 1


def seed_everything(seed: int, device: torch.device, *, deterministic: bool) -> None:
    """Seed torch's generators; with `deterministic`, forbid nondeterministic operations.

    CPU operations are deterministic anyway, and requesting it would import for 1.5 seconds.
    """
    reseed(seed, device)
    if device.type != "cpu":
        if deterministic:  # cuBLAS reads this when it starts
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = False


def reseed(seed: int, device: torch.device) -> None:
    """Seed the generators of the CPU and the device; torch.manual_seed is much slower."""
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        getattr(torch, device.type).manual_seed(seed)


def counter_seed(*counters: int) -> int:
    """Hash counters, e.g. seed and epoch, to 63 bits, so that any epoch is repeatable by itself.

    It applies the mixing of SplitMix64 after each counter (Steele, Lea and Flood, OOPSLA 2014).
    """
    mixed = 0
    for counter in counters:
        mixed = (mixed ^ counter) + 0x9E3779B97F4A7C15 & _64_BITS
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _64_BITS
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _64_BITS
        mixed ^= mixed >> 31
    return mixed >> 1
