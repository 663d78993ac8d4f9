"""Seeds: of torch's generators, and numbers that follow from counters."""

import os

import torch

_64_BITS = 2**64 - 1


def seed_everything(seed: int, device: torch.device, *, deterministic: bool) -> None:
    """Seed torch's generators; with `deterministic`, refuse operations that differ run by run.

    A CPU's do not differ, and asking torch for it takes a second and a half of imports.
    """
    reseed(seed, device)
    if device.type != "cpu":
        if deterministic:  # read by cuBLAS when it starts
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = False


def reseed(seed: int, device: torch.device) -> None:
    """Seed torch's generators of the CPU and the device; torch.manual_seed takes far longer."""
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        getattr(torch, device.type).manual_seed(seed)


def counter_seed(*counters: int) -> int:
    """63 bits that follow from the counters, as seed and epoch: any epoch can be repeated alone.

    SplitMix64's mixing after each (Steele, Lea and Flood, OOPSLA 2014).
    """
    mixed = 0
    for counter in counters:
        mixed = (mixed ^ counter) + 0x9E3779B97F4A7C15 & _64_BITS
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _64_BITS
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _64_BITS
        mixed ^= mixed >> 31
    return mixed >> 1
