"""What a file says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Metadata:
    """What a file says about itself. The names are A1111's; absent keys are None or have the default."""

    name: str | None = None
    step: int | None = None
    layer_structure: tuple[float, ...] | None = None
    activation_func: str | None = None
    is_layer_norm: bool = False
    activate_output: bool = True
    weight_initialization: str | None = None
    use_dropout: bool = False
    dropout_structure: tuple[float, ...] | None = None
    last_layer_dropout: bool = False
    sd_checkpoint: str | None = None
    sd_checkpoint_name: str | None = None
    optional_info: str | None = None
    skip_connection: bool = False
    upsample_linear: str | bool | None = None
    extra: Mapping[str, object] = field(default_factory=dict)
    """Keys that no known program writes: kept, never interpreted."""
    keys: tuple[str, ...] | None = None
    """The file's own keys in their order, so that it can be written again as it was; None: all of A1111's."""
