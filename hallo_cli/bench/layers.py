"""Times each layer of the denoising UNet against the same layer with nothing saved, block by block.

A block at a time is built with random weights, so that the official widths fit into little memory. Both ways
run in turns on the same weights and inputs; what a clip projects beforehand is not counted, as it is not in
a step. Resampling, the first and the last convolution are the same on both sides and left out.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hallo_cli.bench.clock import now
from hallo_cli.bench.example import fill_randomly
from hallo_cli.inference import baseline, speed
from hallo_cli.models import compat
from hallo_cli.models.blocks import BlockPlan, plan_down, plan_middle, plan_up
from hallo_cli.models.config import NetworkConfig
from hallo_cli.models.context import ClipContext, LayerContext, UNetTree
from hallo_cli.models.denoising_unet import DenoisingBlock

N_HALVES = 2
NOTHING: UNetTree[LayerContext] = UNetTree((), (), ())


@dataclass(frozen=True)
class LayerCase:
    """What the layers are run on: a guidance pair's rows."""

    config: NetworkConfig
    size: int  # pixels
    n_frames: int
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True)
class LayerFigures:
    """One layer, times in seconds."""

    name: str
    channels: int
    side: int  # of the feature maps
    plain_s: float  # median, nothing saved
    fast_s: float  # median
    ratio: float  # median of the pairs' ratios
    difference: float  # largest, of the two results; their values are of order 1
    scale: float  # standard deviation of the result


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The number format to time layers in: "auto" is what a GPU renders in, whose float32 kernels are others.

    On a CPU it is float32, in which the two results differ least.
    """
    return torch.float32 if name == "auto" and device.type == "cpu" else speed.resolve_dtype(name, device)


def bench_layers(case: LayerCase, execution: speed.Execution, *, repeats: int = 3) -> Iterator[LayerFigures]:
    """Every layer in the order they run, each as soon as it is measured."""
    config = case.config
    plans = [("down", plan) for plan in plan_down(config)]
    plans += [("middle", plan_middle(config)), *(("up", plan) for plan in plan_up(config))]
    with torch.inference_mode():
        for way, plan in plans:
            yield from _block(f"{way} {plan.level}", plan, case, execution, repeats)


def totals(layers: list[LayerFigures]) -> LayerFigures:
    """All layers together."""
    plain, fast = sum(layer.plain_s for layer in layers), sum(layer.fast_s for layer in layers)
    worst = max(layers, key=lambda layer: layer.difference)
    return LayerFigures("all layers", 0, 0, plain, fast, plain / fast, worst.difference, worst.scale)


def _block(
    name: str, plan: BlockPlan, case: LayerCase, execution: speed.Execution, repeats: int
) -> Iterator[LayerFigures]:
    torch.manual_seed(0)
    device = execution.device
    with torch.device(device):
        plain = DenoisingBlock(plan, case.config).to(case.dtype).requires_grad_(False)
        fill_randomly(plain)
    fast = copy.deepcopy(plain)
    speed.arrange(plain, speed.plain_execution(device))
    speed.arrange(fast, execution)
    for index, layer in enumerate(plan.layers):
        inputs = _Inputs(plan, index, case, device)
        ways = (inputs.plain_way(plain), inputs.fast_way(fast, execution))
        expected, got = (way() for way in ways)  # warms up, too
        times = [[_seconds(way, device) for way in ways] for _ in range(repeats)]
        yield LayerFigures(
            name=f"{name}, layer {index}",
            channels=layer.out_channels,
            side=inputs.side,
            plain_s=statistics.median(pair[0] for pair in times),
            fast_s=statistics.median(pair[1] for pair in times),
            ratio=statistics.median(pair[0] / pair[1] for pair in times),
            difference=float((expected.float() - got.float()).abs().max()),
            scale=float(expected.float().std()),
        )


class _Inputs:
    """Random inputs of one layer, and the two ways to run it on them."""

    def __init__(self, plan: BlockPlan, index: int, case: LayerCase, device: torch.device) -> None:
        config, layer = case.config, plan.layers[index]
        self.index, self.n_frames = index, case.n_frames
        self.side = case.size // config.latent_factor >> plan.level
        rows, positions = N_HALVES * case.n_frames, self.side**2

        def random(*shape: int) -> Tensor:
            return torch.randn(shape, device=device, dtype=case.dtype)

        self.x = random(rows, layer.in_channels, self.side, self.side)
        self.temb = random(1, 4 * config.channels[0])
        self.features = random(N_HALVES, 1 + config.motion_frames, positions, layer.out_channels)
        self.identity = (
            random(N_HALVES, config.identity_tokens, config.cross_dim) if config.identity_tokens else None
        )
        self.audio = random(case.n_frames, config.audio_tokens, config.audio_token_dim)
        self.masks = (random(1, positions, 3).sigmoid(),) * config.levels
        self.weights = torch.ones(3, device=device, dtype=case.dtype)
        self.reference_rows = compat.reference_rows(config, N_HALVES, case.n_frames).to(device)
        self.empty = random(0)

    def plain_way(self, block: DenoisingBlock) -> Callable[[], Tensor]:
        """The layer with nothing saved."""
        tree: UNetTree[Tensor] = UNetTree((), (), ())
        conditions = baseline.PlainConditions(
            tree,
            self.reference_rows,
            self.identity,
            self.audio,
            self.masks,
            self.weights,
            self.empty,
            self.n_frames,
        )
        temb = self.temb.expand(self.x.shape[0], -1)
        return lambda: baseline.run_layer(block, self.index, self.x, temb, self.features, conditions)[0]

    def fast_way(self, block: DenoisingBlock, execution: speed.Execution) -> Callable[[], Tensor]:
        """The layer as it is rendered with: conditions projected, maps in the network's layout."""
        layout = torch.channels_last if execution.is_channels_last else torch.contiguous_format
        x = self.x.contiguous(memory_format=layout)
        reference = identity = audio = motion = None
        if hasattr(block, "attentions"):
            spatial, hearing = block.attentions[self.index], block.audio_modules[self.index]
            reference = spatial.project_reference(self.features[:, 0])
            identity = None if self.identity is None else spatial.project_identity(self.identity)
            audio = hearing.project(self.audio, self.masks[block.level], self.weights)
        if hasattr(block, "motion_modules") and self.features.shape[1] > 1:
            motion = block.motion_modules[self.index].project(self.features[:, 1:])
        condition = LayerContext(reference, identity, audio, motion)
        rows = self.reference_rows[self.n_frames :]
        shared = ClipContext(NOTHING, self.masks, self.n_frames, self.n_frames, rows)
        return lambda: block.layer(self.index, x, self.temb, condition, shared)[0]


def _seconds(way: Callable[[], Tensor], device: torch.device) -> float:
    start = now(device)
    way()
    return now(device) - start
