"""What the two UNets share: Stable Diffusion's resnets down, in the middle and up.

Frames are folded into the rows throughout ("inflated" layers act per frame), so diffusers' 2-D parts fit as
they are. What stands beside the resnets of a layer, and what a layer gives besides feature maps, is the
UNet's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hallo_cli.models import compat
from hallo_cli.models.context import PerLayer, zip_layers
from hallo_cli.models.diffusers_parts import Downsample2D, ResnetBlock2D, TimestepEmbedding, Timesteps
from hallo_cli.models.network_config import NetworkConfig

T = TypeVar("T")


@dataclass(frozen=True)
class LayerPlan:
    """Widths of one layer."""

    in_channels: int
    out_channels: int
    audio_width: int


@dataclass(frozen=True)
class BlockPlan:
    """One block: the layers of one resolution on the way down, in the middle or on the way up."""

    layers: tuple[LayerPlan, ...]
    level: int
    has_attention: bool
    has_motion: bool

    @property
    def channels(self) -> int:
        """Width of the block's output."""
        return self.layers[-1].out_channels


def plan_down(config: NetworkConfig) -> list[BlockPlan]:
    """The blocks on the way down, finest first."""
    plans = []
    for level, width in enumerate(config.channels):
        before = config.channels[max(level - 1, 0)]
        inputs = [before] + [width] * (config.layers_per_block - 1)
        layers = [LayerPlan(n, width, compat.audio_width(config, n, width)) for n in inputs]
        plans.append(_plan(config, layers, level))
    return plans


def plan_middle(config: NetworkConfig) -> BlockPlan:
    """The block at the coarsest level; it always has attention and motion."""
    width = config.channels[-1]
    layer = LayerPlan(width, width, compat.audio_width(config, width, width))
    return BlockPlan((layer,), config.levels - 1, has_attention=True, has_motion=True)


def plan_up(config: NetworkConfig) -> list[BlockPlan]:
    """The blocks on the way up, coarsest first: one more layer than down, each reading one skip."""
    skips = [config.channels[0]]
    for level, width in enumerate(config.channels):
        skips += [width] * (config.layers_per_block + (level < config.levels - 1))
    plans, width = [], config.channels[-1]
    for level in reversed(range(config.levels)):
        out = config.channels[level]
        audio_width = compat.audio_width(config, config.channels[max(level - 1, 0)], out)
        layers = []
        for _ in range(config.layers_per_block + 1):
            layers.append(LayerPlan(width + skips.pop(), out, audio_width))
            width = out
        plans.append(_plan(config, layers, level))
    return plans


def _plan(config: NetworkConfig, layers: list[LayerPlan], level: int) -> BlockPlan:
    return BlockPlan(tuple(layers), level, config.attention_levels[level], compat.runs_motion(config, level))


class DeepFeatures(NamedTuple):
    """What the deep layers made in one step, for use in the next ones (DeepCache, arXiv 2312.00858).

    Everything is deep but the first `n_layers` layers of the finest block on the way down and the last
    `n_layers + 1` of the finest on the way up, which read those layers' skips and conv_in's.
    """

    maps: Tensor  # [rows, channels, height, width] that the first of those layers up gets
    n_layers: int

    def halves(self) -> tuple[DeepFeatures, DeepFeatures]:
        """Of a guidance pair: the unconditional and the conditional rows."""
        first, second = self.maps.chunk(2)
        return DeepFeatures(first, self.n_layers), DeepFeatures(second, self.n_layers)


class Upsample(nn.Module):
    """Nearest-neighbour enlargement to a given size and a convolution; keeps the memory format."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, size: torch.Size) -> Tensor:
        """[rows, channels, h, w] -> [rows, channels, *size]."""
        return self.conv(F.interpolate(x, size=size, mode="nearest"))


class Block(nn.Module):
    """The resnets of one block; subclasses add what stands beside them and say how a layer runs."""

    def __init__(self, plan: BlockPlan, config: NetworkConfig) -> None:
        super().__init__()
        self.level = plan.level
        self.n_layers = len(plan.layers)
        self.resnets: Any = nn.ModuleList(
            [resnet(x.in_channels, x.out_channels, config) for x in plan.layers]
        )

    def layer(self, index: int, x: Tensor, temb: Tensor, condition: Any, shared: Any) -> tuple[Tensor, Any]:
        """Run one layer: new feature maps, and whatever the network wants of this layer."""
        raise NotImplementedError


def resnet(in_channels: int, out_channels: int, config: NetworkConfig) -> ResnetBlock2D:
    """Group norm, SiLU, convolution, timestep, twice; as in Stable Diffusion."""
    return ResnetBlock2D(
        in_channels=in_channels,
        out_channels=out_channels,
        temb_channels=4 * config.channels[0],
        groups=config.norm_groups,
        eps=1e-5,
    )


class UNet(nn.Module):
    """Down, middle, up; each layer's output is kept for the way up.

    `checkpointing` recomputes each layer in the backward pass instead of keeping its activations: it changes
    memory and time of training, never a number.
    """

    def __init__(
        self, config: NetworkConfig, make_block: Callable[[BlockPlan], Block], *, in_channels: int
    ) -> None:
        super().__init__()
        self.checkpointing = False
        width = config.channels[0]
        self.conv_in = nn.Conv2d(in_channels, width, 3, padding=1)
        self.time_proj = Timesteps(width, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(width, 4 * width)
        self.down_blocks: Any = nn.ModuleList()
        for plan in plan_down(config):
            block = make_block(plan)
            if plan.level < config.levels - 1:
                sampler = Downsample2D(plan.channels, use_conv=True, name="op")
                block.downsamplers = nn.ModuleList([sampler])
            self.down_blocks.append(block)
        middle = plan_middle(config)
        self.mid_block = make_block(middle)
        self.mid_block.resnets.append(resnet(middle.channels, middle.channels, config))
        self.up_blocks: Any = nn.ModuleList()
        for plan in plan_up(config):
            block = make_block(plan)
            if plan.level > 0:
                block.upsamplers = nn.ModuleList([Upsample(plan.channels)])
            self.up_blocks.append(block)

    def embed_time(self, timesteps: Tensor) -> Tensor:
        """Timesteps [rows] -> [rows, 4 * channels]; the sinusoids are computed in float32."""
        return self.time_embedding(self.time_proj(timesteps).to(self.conv_in.weight.dtype))

    def walk(
        self,
        x: Tensor,
        temb: Tensor,
        conditions: PerLayer[Any],
        shared: Any = None,
        run: Callable[..., tuple[Tensor, Any]] | None = None,
    ) -> tuple[Tensor, PerLayer[Any]]:
        """From conv_in's output to the last block's, with what every layer gave besides.

        `run(block, index, x, temb, condition, shared)` runs a layer; by default `Block.layer`.
        """
        run = run or self._run
        skips: list[Tensor] = [x]
        extras: list[Any] = []
        for block in self.down_blocks:
            for index in range(block.n_layers):
                x, extra = run(block, index, x, temb, conditions.values[len(extras)], shared)
                extras.append(extra)
                skips.append(x)
            if hasattr(block, "downsamplers"):
                x = block.downsamplers[0](x)
                skips.append(x)
        x, extra = run(self.mid_block, 0, x, temb, conditions.values[len(extras)], shared)
        extras.append(extra)
        x = self.mid_block.resnets[-1](x, temb)
        for block in self.up_blocks:
            for index in range(block.n_layers):
                x = torch.cat([x, skips.pop()], 1)
                x, extra = run(block, index, x, temb, conditions.values[len(extras)], shared)
                extras.append(extra)
            if hasattr(block, "upsamplers"):
                x = block.upsamplers[0](x, skips[-1].shape[2:])
        assert len(extras) == len(conditions.values)
        return x, PerLayer(tuple(extras))

    def walk_shallow(
        self, x: Tensor, temb: Tensor, conditions: PerLayer[Any], shared: Any, deep: DeepFeatures
    ) -> Tensor:
        """`walk` where everything but the finest block's outer layers is taken from an earlier step."""
        first, last, skips = self.down_blocks[0], self.up_blocks[-1], [x]
        for index in range(deep.n_layers):
            x, _ = self._run(first, index, x, temb, conditions.values[index], shared)
            skips.append(x)
        x = deep.maps
        for from_end in range(-len(skips), 0):
            x = torch.cat([x, skips.pop()], 1)
            index = last.n_layers + from_end
            x, _ = self._run(last, index, x, temb, conditions.values[from_end], shared)
        return x

    def walk_keeping(
        self, x: Tensor, temb: Tensor, conditions: PerLayer[Any], shared: Any, n_layers: int
    ) -> tuple[Tensor, DeepFeatures]:
        """`walk`, and what `walk_shallow` needs for later steps."""
        last, skip_width, kept = self.up_blocks[-1], x.shape[1], []
        first_index = last.n_layers - n_layers - 1

        def run(block: Block, index: int, x: Tensor, *arguments: Any) -> tuple[Tensor, Any]:
            if block is last and index == first_index:
                kept.append(x[:, :-skip_width])
            return self._run(block, index, x, *arguments)

        x, _ = self.walk(x, temb, conditions, shared, run)
        return x, DeepFeatures(kept[0], n_layers)

    def by_level(self, values: Sequence[T | None]) -> PerLayer[T]:
        """One value a level, for each layer its level's."""
        return PerLayer(tuple(values[block.level] for block, _ in self._layers()))

    def per_layer(self, name: str, visit: Callable[..., T], *parts: PerLayer[Any]) -> PerLayer[T]:
        """`visit(module, *values)` for every layer that has a module in its block's list `name`.

        None if there is no such module or a value is missing.
        """

        def visit_layer(*found: Any) -> T | None:
            return None if any(one is None for one in found) else visit(*found)

        lists = ((getattr(block, name, None), index) for block, index in self._layers())
        modules = PerLayer(tuple(None if one is None else one[index] for one, index in lists))
        return zip_layers(visit_layer, modules, *parts)

    def _layers(self) -> list[tuple[Block, int]]:
        """Each layer as its block and its index there, in the order in which they run."""
        blocks = (*self.down_blocks, self.mid_block, *self.up_blocks)
        return [(block, index) for block in blocks for index in range(block.n_layers)]

    def _run(self, block: Block, *arguments: Any) -> tuple[Tensor, Any]:
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(block.layer, *arguments, use_reentrant=False)
        return block.layer(*arguments)
