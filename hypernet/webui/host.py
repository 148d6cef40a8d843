"""What a WebUI must offer for hypernetworks to live in it. One small file per dialect implements this.

Only hosts/ knows `modules.*`; what a host has is found by looking for it, never by its version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hypernet.schedule import Moment
    from hypernet.webui.session import Session

Processing = Any
"""A host's `p`: one request for pictures. Its class belongs to the host."""


class Handler(Protocol):
    """What a host calls for a kind of tag in the prompt. Hosts add keyword arguments of their own."""

    name: str

    def list_files(self) -> Mapping[str, str]:
        """Lists the folders anew: name -> path."""
        ...

    def activate(self, p: Processing, params_list: list[Any], *args: Any, **kwargs: Any) -> None: ...

    def deactivate(self, p: Processing, *args: Any, **kwargs: Any) -> None: ...

    def before_sampling(self, p: Processing) -> None:
        """A pass is about to be sampled, maybe with another UNet."""
        ...


class Native(Protocol):
    """A host's own hypernetworks, where they work."""

    def activate(self, p: Processing, params_list: list[Any]) -> None: ...

    def loaded(self) -> Sequence[str]:
        """Names of the networks that the host applies by itself at this moment."""
        ...

    def clear(self) -> None:
        """Makes the host apply none."""
        ...


class RunClock(Protocol):
    """Tells, UNet call by UNet call, where one sampling run stands (an engine's `Clock`)."""

    def step(self, params: Any) -> None:
        """The sampler begins a step; params: what the host's callback gives. Hosts without one never call it."""
        ...

    def __call__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Moment: ...


class Host(Protocol):
    """The program around us."""

    native: Native | None
    """None where the host has no hypernetworks of its own, or they do nothing."""

    # Places and options

    def model_dirs(self) -> Sequence[Path]:
        """The folders for hypernetwork files, made if missing."""
        ...

    def cache_dir(self) -> Path | None:
        """Where caches may be written."""
        ...

    def may_hash(self) -> bool:
        """False where the user forbade hashing (`--no-hashing`)."""
        ...

    def option(self, key: str, default: Any) -> Any:
        """A setting of the host, or of ours in it; the default where there is none of that name."""
        ...

    def outlast(self, p: Processing, keys: Sequence[str]) -> None:
        """Makes sure that a request's overrides of these settings end with the request."""
        ...

    # The model

    def find_unet(self, p: Processing) -> nn.Module:
        """The UNet that will make p's next step. Raises HypernetError, for the user, where none can be hooked."""
        ...

    def read_weight(self, module: nn.Module) -> Tensor | None:
        """The dense weight that `module` multiplies by right now, adapters settled; None where nobody can tell."""
        ...

    def new_clock(self, p: Processing) -> RunClock: ...

    def reserve_memory(self, p: Processing, nbytes: int) -> None:
        """Makes the host's memory management keep that much free on the UNet's device while p samples."""
        ...

    # The picture

    def is_run(self, p: Processing) -> bool:
        """Whether p asks for pictures. Hosts also activate tags on bare objects, to warm up a model."""
        ...

    def part_of_run(self, p: Processing) -> list[Any] | None:
        """The tags of a pass that has a p of its own inside another request; None where p is a request."""
        ...

    def comment(self, p: Processing, text: str) -> None:
        """Shows a sentence under the picture."""
        ...

    def tell(self, text: str) -> None:
        """Shows a sentence to whoever is at the browser now."""
        ...

    def when_done(self, p: Processing, then: Callable[[], None]) -> None:
        """Calls `then` when p is through, whether it ended well or not."""
        ...

    # The interface

    def take_over(self, handler: Handler) -> None:
        """Makes `handler` the one for `<hypernet:...>`, in place of the host's own."""
        ...

    def publish(self, files: Mapping[str, str]) -> None:
        """Shows name -> path to other extensions and to the host's own API and lists."""
        ...

    def show_page(self, session: Session) -> None:
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

    def route_options(self, app: Any) -> Mapping[str, Any] | None:
        """Arguments that guard a route of app (FastAPI) as the host's own; None where the host offers no API."""
        ...

    def release(self) -> None:
        """Gives back whatever was replaced in the host."""
        ...
