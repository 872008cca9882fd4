"""The device that is measured, and what it can do at most: products and copies in memory."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch

ROUNDS = 5


@dataclass(frozen=True, kw_only=True)
class Device:
    """The device: its kind in torch, and the name of the GPU or of its replacement."""

    kind: str
    name: str

    @classmethod
    def of_this_machine(cls) -> "Device":
        """Return the first GPU, or the processor where torch finds none."""
        if torch.cuda.is_available():
            return cls(kind="cuda", name=torch.cuda.get_device_name(0))
        return cls(kind="cpu", name="the processor, as torch finds no GPU")

    @property
    def is_gpu(self) -> bool:
        return self.kind == "cuda"

    @property
    def description(self) -> str:
        """The device with its memory and torch's version, then the machine around it."""
        from benchmarks.side_by_side import (
            about_machine,  # loads matplotlib, which parts do without
        )

        memory = ""
        if self.is_gpu:
            total_gib = torch.cuda.get_device_properties(0).total_memory / 2**30
            memory = f", {total_gib:.0f} GiB, CUDA {torch.version.cuda}"
        return f"{self.name}{memory}. {about_machine(['torch', 'numpy', 'pandas'])}"

    def wait(self) -> None:
        """Return once the device has done what it was given."""
        if self.is_gpu:
            torch.cuda.synchronize()

    def seconds_of(self, work: Callable[[], object], *, rounds: int = ROUNDS) -> float:
        """Return the median time of doing `work`, after one round that warms up."""
        taken = []
        for _ in range(rounds + 1):
            self.wait()
            start = time.perf_counter()
            work()
            self.wait()
            taken.append(time.perf_counter() - start)
        return median(taken[1:])

    def peak_flops(self, *, side: int, repeats: int = 10) -> float:
        """Return floating-point operations per second of a large bfloat16 matrix product.

        The numbers are random: zeros can be faster.
        """
        one, other = (
            torch.randn(side, side, device=self.kind, dtype=torch.bfloat16) for _ in range(2)
        )
        product = torch.empty_like(one)

        def multiply() -> None:
            for _ in range(repeats):
                torch.mm(one, other, out=product)

        return 2 * side**3 * repeats / self.seconds_of(multiply)

    def copied_bytes_per_s(self, *, size_bytes: int, repeats: int = 10) -> float:
        """Return bytes read and written per second by a copy from the device to itself."""
        source = torch.randint(0, 100, (size_bytes,), device=self.kind, dtype=torch.uint8)
        target = torch.empty_like(source)

        def copy() -> None:
            for _ in range(repeats):
                target.copy_(source)

        return 2 * size_bytes * repeats / self.seconds_of(copy)

    def peaks(self, *, tiny: bool) -> tuple[float, float]:
        """Return `peak_flops` and `copied_bytes_per_s` at sizes that fill the device."""
        side, size_bytes = (512, 2**24) if tiny else (8192, 2**32)
        return self.peak_flops(side=side), self.copied_bytes_per_s(size_bytes=size_bytes)
