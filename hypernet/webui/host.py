"""What a WebUI must offer for hypernetworks to live in it. One small file per dialect implements this.

Only `dialects/` knows `modules.*`; what a host has is found by looking for it, never by its version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hypernet.webui.catalogue import Catalogue, Places

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hypernet.schedule import Moment

Processing = Any
"""A host's `p`: one request for pictures. Its class belongs to the host."""


class Handler(Protocol):
    """What a host calls for a kind of tag in the prompt. Hosts add keyword arguments of their own."""

    name: str

    def activate(self, p: Processing, params_list: list[Any], *args: Any, **kwargs: Any) -> None:
        """The tags that count from now on."""
        ...

    def deactivate(self, p: Processing, *args: Any, **kwargs: Any) -> None:
        """The tags activated last count no more."""
        ...

    def before_sampling(self, p: Processing) -> None:
        """A pass is about to be sampled, maybe with another UNet."""
        ...


class Native(Protocol):
    """A host's own hypernetworks, where they work."""

    def activate(self, p: Processing, params_list: list[Any]) -> None:
        """Makes the host apply these tags by itself."""
        ...

    def loaded(self) -> Sequence[str]:
        """Names of the networks that the host applies by itself at this moment."""
        ...

    def clear(self) -> None:
        """Makes the host apply none."""
        ...


class RunClock(Protocol):
    """Knows, UNet call by UNet call, where one sampling run stands (an engine's `Clock`)."""

    def step(self, params: Any) -> None:
        """The sampler begins a step; params: what the host's callback gives. Hosts without one never call it."""
        ...

    def __call__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Moment:
        """args, kwargs: of the UNet's call."""
        ...


class Host(Places, Protocol):
    """The program around us."""

    native: Native | None
    """None where the host has no hypernetworks of its own, or they do nothing."""

    # The model

    def find_unet(self, p: Processing) -> nn.Module:
        """The UNet that will make p's next step. Raises HypernetError, for the user, where none can be hooked."""
        ...

    def read_weight(self, module: nn.Module) -> Tensor | None:
        """The dense weight that `module` multiplies by right now, adapters settled; None where nobody can tell."""
        ...

    def watch(self, unet: nn.Module, found: Callable[[nn.Module], None]) -> Callable[[], None]:
        """Calls `found` for each module beside the UNet that the host's own hypernetworks would act in, too.

        Returns what ends it.
        """
        ...

    def new_clock(self, p: Processing) -> RunClock:
        """For one sampling run."""
        ...

    def reserve_memory(self, p: Processing, nbytes: int) -> None:
        """Makes the host's memory management keep that much free on the UNet's device while p samples."""
        ...

    # Other files

    def checkpoints(self) -> Mapping[str, Path]:
        """The checkpoints that the host lists: title -> file or folder."""
        ...

    def checkpoints_changed(self) -> None:
        """Makes the host list its checkpoints anew."""
        ...

    def lora_dir(self) -> Path:
        """The folder for LoRA files."""
        ...

    def checkpoint_path(self) -> Path | None:
        """The file, or the folder, of the chosen checkpoint; None where there is none."""
        ...

    def lend_memory(self) -> None:
        """Makes the model leave the GPU, where the host has a way; called when no picture is being drawn."""
        ...

    def claim_memory(self) -> None:
        """Takes the model back to where `lend_memory` took it from; nothing where it did not."""
        ...

    # The request

    def is_request(self, p: Processing) -> bool:
        """Whether p asks for pictures. Hosts also activate tags on bare objects, to warm up a model."""
        ...

    def is_hires(self, p: Processing) -> bool:
        """Whether p is in its hires pass."""
        ...

    def networks_disabled(self, p: Processing) -> bool:
        """Whether p asks for a picture without extra networks."""
        ...

    def sampled_request(self, params: Any) -> Processing | None:
        """The p that is sampled; params: what the host's denoiser callback gives. None where it doesn't say."""
        ...

    def inner_pass_tags(self, p: Processing) -> list[Any] | None:
        """The tags of a pass that has a p of its own inside another request; None where p is a request."""
        ...

    def batch_prompts(self, p: Processing) -> tuple[Sequence[str], Sequence[str]]:
        """The prompts and the negative prompts, as typed, of the pictures that are drawn together now."""
        ...

    def add_to_prompts(self, p: Processing, tag: str) -> None:
        """Writes a tag that a setting adds into the prompts that the picture will carry."""
        ...

    def parameters(self, p: Processing) -> dict[str, Any]:
        """What is written below p's pictures, to be changed in place."""
        ...

    def restore_after(self, p: Processing, keys: Sequence[str]) -> None:
        """Makes sure that a request's overrides of these settings end with the request."""
        ...

    def on_close(self, p: Processing, then: Callable[[], None]) -> None:
        """Calls `then` when p is through, whether it ended well or not."""
        ...

    # Messages

    def add_comment(self, p: Processing, text: str) -> None:
        """Shows a sentence under the picture."""
        ...

    def add_late_comments(self, processed: Any, texts: Sequence[str]) -> None:
        """Shows sentences under a result that is already made; those that it has are left out."""
        ...

    def warn(self, text: str) -> None:
        """Shows a sentence to whoever is at the browser now."""
        ...

    # The interface

    def install(self, handler: Handler, catalogue: Catalogue) -> None:
        """Makes `handler` the one for `<hypernet:...>`, and the catalogue the list, in place of the host's own."""
        ...

    def uninstall(self) -> None:
        """Gives back whatever was replaced in the host."""
        ...

    def show_page(self, catalogue: Catalogue) -> None:
        """Registers the Hypernetworks tab, in place of the host's own."""
        ...

    def option_info(self) -> Any:
        """The host's `OptionInfo` class."""
        ...

    def add_settings(self, section: tuple[str, str], infos: Mapping[str, Any]) -> None:
        """infos: key -> `OptionInfo`."""
        ...

    def axes(self) -> Sequence[Any]:
        """The modules that hold the axes of the X/Y/Z plot: `axis_options` and the class `AxisOption`."""
        ...

    def page_guards(self) -> Sequence[Any]:
        """Dependencies (FastAPI) of the routes that the page itself asks, API or not: as reachable as the page."""
        ...

    def route_options(self, app: Any) -> Mapping[str, Any] | None:
        """Arguments that guard a route of app (FastAPI) as the host's own; None where the host offers no API."""
        ...

    def on_api_infotext(self, rename: Callable[[dict[str, Any]], None]) -> None:
        """Calls `rename` with the parameters of an infotext that the API is given; it changes them in place."""
        ...
