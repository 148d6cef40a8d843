"""Files made to harm: what strangers may send. They are made in memory, because virus scanners dislike them on disk.

    python -m tests.hostile FOLDER      writes them all, some of 100 MB, to look at them

Each must give `UnreadableFile`: no code runs, no process dies, none takes over two seconds or three times its size. The
tricks are those of pickle scanners' test sets and advisories (picklescan, fickling, modelscan), of advisories on
`torch.load`, of zip and of safetensors parsers. Payloads are harmless: at worst a file named PWNED would appear.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from hypernet.files.metadata import TEXTS

COMMAND = "echo > PWNED"
CODE = "open('PWNED', 'w')"
MAGIC = 0x1950A86A20F9469CFC6C

# ---------------------------------------------------------------- a pickle, opcode by opcode


def text(value: str | bytes) -> bytes:
    data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8b" + struct.pack("<i", len(data)) + data


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def tuple_of(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def table(*pairs: tuple[bytes, bytes]) -> bytes:
    return b"}(" + b"".join(key + value for key, value in pairs) + b"u"


def call(module: str, attribute: str, *arguments: bytes) -> bytes:
    return name(module, attribute) + tuple_of(*arguments) + b"R"


def storage(key: str = "0", elements: int = 64, kind: str = "FloatStorage", *more: bytes) -> bytes:
    return tuple_of(text("storage"), name("torch", kind), text(key), text("cpu"), number(elements), *more) + b"Q"


def tensor(
    shape: tuple[int, ...] = (8, 8),
    strides: tuple[int, ...] = (8, 1),
    offset: int = 0,
    stored: bytes | None = None,
    hooks: bytes = name("collections", "OrderedDict") + b")R",
) -> bytes:
    sizes, steps = (tuple_of(*map(number, values)) for values in (shape, strides))
    arguments = (storage() if stored is None else stored, number(offset), sizes, steps, b"\x89", hooks)
    return call("torch._utils", "_rebuild_tensor_v2", *arguments)


def net(weight: bytes | None = None, called: bytes | None = None) -> bytes:
    return table((called or text("linear.0.weight"), weight or tensor()))


def network(
    k: bytes | None = None, v: bytes | None = None, *facts: tuple[bytes, bytes], width: bytes | None = None
) -> bytes:
    return table((width or number(8), tuple_of(k or net(), v or net())), *facts)


# ---------------------------------------------------------------- the containers around it


def zipped(content: bytes, stored: bytes | None = bytes(256), protocol: int = 2) -> bytes:
    """A `.pt` as PyTorch writes it since 1.6. stored: the only storage, if there is one."""
    data = {} if stored is None else {"a/data/0": stored}
    return archive({"a/data.pkl": bytes([0x80, protocol]) + content + b"."} | data | {"a/version": b"3\n"})


def archive(records: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as made:
        for path, data in records.items():
            made.writestr(zipfile.ZipInfo(path), data, method)
    return stream.getvalue()


def legacy(content: bytes, stored: bytes = struct.pack("<q", 64) + bytes(256), keys: object = ("0",)) -> bytes:
    """A `.pt` as PyTorch wrote it before."""
    head = [MAGIC, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}]
    pickles = b"".join(pickle.dumps(value, 2) for value in head)
    return pickles + b"\x80\x02" + content + b"." + pickle.dumps(list(keys), 2) + stored  # type: ignore[call-overload]


GOOD = {"8.k.linear.0.weight": ([8, 8], 0, 256), "8.v.linear.0.weight": ([8, 8], 256, 512)}


def header(**changes: object) -> dict[str, object]:
    """The header of a small safetensors file; `k` replaces parts of its first entry."""
    made: dict[str, object] = {
        key: {"dtype": "F32", "shape": shape, "data_offsets": [start, end]} for key, (shape, start, end) in GOOD.items()
    }
    first = made["8.k.linear.0.weight"]
    assert isinstance(first, dict)
    first.update(changes.pop("k", {}))  # type: ignore[call-overload]
    return made | changes


def tensors(head: object, data: bytes = bytes(512), length: int | None = None) -> bytes:
    """A safetensors file with this header: an object, or the bytes themselves."""
    content = head if isinstance(head, bytes) else json.dumps(head).encode()
    return struct.pack("<Q", len(content) if length is None else length) + content + data


# ---------------------------------------------------------------- pickles that call

CALLS: tuple[tuple[str, str, tuple[bytes, ...]], ...] = (
    ("os", "system", (text(COMMAND),)),
    ("posix", "system", (text(COMMAND),)),
    ("nt", "system", (text(COMMAND),)),
    ("os", "popen", (text(COMMAND),)),
    ("os", "execvp", (text("sh"), tuple_of(text("sh")))),
    ("builtins", "eval", (text(CODE),)),
    ("builtins", "exec", (text(CODE),)),
    ("__builtin__", "eval", (text(CODE),)),
    ("__builtin__", "exec", (text(CODE),)),
    ("__builtin__", "apply", (text(CODE),)),
    ("builtins", "compile", (text(CODE), text("x"), text("exec"))),
    ("builtins", "open", (text("PWNED"), text("w"))),
    ("builtins", "__import__", (text("os"),)),
    ("builtins", "getattr", (b"}", text("keys"))),
    ("builtins", "breakpoint", ()),
    ("builtins", "print", (text(CODE),)),
    ("__main__", "main", ()),
    ("io", "open", (text("PWNED"), text("w"))),
    ("_io", "FileIO", (text("PWNED"), text("w"))),
    ("subprocess", "Popen", (text(COMMAND),)),
    ("subprocess", "check_output", (text(COMMAND),)),
    ("webbrowser", "open", (text("http://localhost/"),)),
    ("importlib", "import_module", (text("os"),)),
    ("pkgutil", "resolve_name", (text("os:system"),)),
    ("pydoc", "locate", (text("os.system"),)),
    ("runpy", "_run_code", (text(CODE), b"}")),
    ("timeit", "timeit", (text(CODE),)),
    ("cProfile", "run", (text(CODE),)),
    ("profile", "run", (text(CODE),)),
    ("pdb", "run", (text(CODE),)),
    ("bdb", "Bdb", ()),
    ("trace", "Trace", ()),
    ("code", "interact", ()),
    ("doctest", "debug_script", (text(CODE),)),
    ("ensurepip", "_run_pip", (text("x"),)),
    ("pip", "main", (text("x"),)),
    ("venv", "create", (text("PWNED"),)),
    ("uuid", "_get_command_stdout", (text(COMMAND),)),
    ("_osx_support", "_read_output", (text(COMMAND),)),
    ("imaplib", "IMAP4_stream", (text(COMMAND),)),
    ("test.support.script_helper", "assert_python_ok", (text("-c"), text(CODE))),
    ("lib2to3.pgen2.grammar", "Grammar", ()),
    ("idlelib.run", "Executive", ()),
    ("distutils.file_util", "write_file", (text("PWNED"), b"]")),
    ("multiprocessing.util", "spawnv_passfds", (text("sh"), tuple_of(), tuple_of())),
    ("asyncio", "run", (text("x"),)),
    ("pty", "spawn", (text("sh"),)),
    ("ctypes", "CDLL", (text("libc.so.6"),)),
    ("socket", "create_connection", (tuple_of(text("localhost"), number(9)),)),
    ("ssl", "get_server_certificate", (tuple_of(text("localhost"), number(9)),)),
    ("urllib.request", "urlopen", (text("http://localhost/"),)),
    ("shutil", "rmtree", (text("PWNED"),)),
    ("sys", "exit", (number(1),)),
    ("signal", "raise_signal", (number(9),)),
    ("gc", "get_objects", ()),
    ("types", "CodeType", ()),
    ("types", "FunctionType", ()),
    ("marshal", "loads", (text("x"),)),
    ("pickle", "loads", (text("x"),)),
    ("_pickle", "loads", (text("x"),)),
    ("cloudpickle.cloudpickle", "_make_function", ()),
    ("copyreg", "_reconstructor", (name("os", "system"), name("builtins", "object"), b"N")),
    ("copyreg", "add_extension", (text("os"), text("system"), number(1))),
    ("functools", "partial", (name("os", "system"), text(COMMAND))),
    ("functools", "reduce", (name("os", "system"), b"]")),
    ("operator", "attrgetter", (text("system"),)),
    ("_operator", "methodcaller", (text("system"),)),
    ("logging", "FileHandler", (text("PWNED"),)),
    ("logging.config", "listen", ()),
    ("zipimport", "zipimporter", (text("PWNED"),)),
    ("site", "addsitedir", (text("."),)),
    ("numpy", "load", (text("PWNED"),)),
    ("numpy", "fromfile", (text("PWNED"),)),
    ("numpy", "ndarray", (tuple_of(number(1 << 40)),)),
    ("numpy.core.multiarray", "_reconstruct", (name("numpy", "dtype"), tuple_of(number(0)), text("b"))),
    ("numpy.testing._private.utils", "runstring", (text(CODE), b"}")),
    ("numpy.f2py.crackfortran", "getlincoef", (text(CODE), b"}")),
    ("torch", "load", (text("PWNED"),)),
    ("torch", "compile", (text(CODE),)),
    ("torch", "storage", ()),
    ("torch.hub", "load", (text("PWNED"),)),
    ("torch.serialization", "load", (text("PWNED"),)),
    ("torch.storage", "_load_from_bytes", (text("x"),)),
    ("torch.jit", "load", (text("PWNED"),)),
    ("torch.jit.unsupported_tensor_ops", "execWrapper", (text(CODE), b"}", b"}")),
    ("torch._utils", "_rebuild_wrapper_subclass", ()),
    ("torch._utils", "_import_dotted_name", (text("os.system"),)),
    ("torch._tensor", "_rebuild_from_type_v2", (name("os", "system"),)),
    ("torch._C", "_jit_set_profiling_mode", (b"\x88",)),
    ("torch._inductor.codecache", "compile_file", (text(""), text(""), tuple_of(text("sh")))),
    ("torch.utils._config_module", "ConfigModule.load_config", (text("x"),)),
    ("torch.utils.bottleneck.__main__", "run_cprofile", (text(CODE), b"}")),
    ("torch.utils.collect_env", "run", (text(COMMAND),)),
    ("torch.utils.data.datapipes.utils.decoder", "basichandlers", (text("pickle"), text("x"))),
    ("torch.fx.experimental.symbolic_shapes", "ShapeEnv.evaluate_guards_expression", (text(CODE),)),
    ("torch._dynamo.guards", "GuardBuilder.get", (text(CODE),)),
    ("torch.nn.modules.linear", "Linear", (number(8), number(8))),
    ("torch.nn", "Module", ()),
    ("os", "posix_spawn", (text("/bin/sh"), tuple_of(text("sh")), b"}")),
    ("os.path", "os.system", (text(COMMAND),)),
    ("commands", "getoutput", (text(COMMAND),)),
    ("builtins", "__import__.__self__.eval", (text(CODE),)),
    ("builtins", "object.__reduce_ex__", (b"}", number(2))),
    ("builtins", "vars", ()),
    ("builtins", "type", (text("x"), b")", b"}")),
    ("builtins", "bytearray", (number(1 << 40),)),
    ("builtins", "range", (number(1 << 60),)),
    ("builtins", "set", (b"]",)),
    ("copyreg", "__newobj__", (name("os", "system"),)),
    ("copyreg", "__reduce_ex__", (b"}", number(2))),
    ("collections", "OrderedDict.__reduce_ex__", (b"}", number(2))),
    ("collections", "defaultdict", (name("os", "system"),)),
    ("collections", "_sys.modules", ()),
    ("operator", "itemgetter", (number(77), number(83))),
    ("inspect", "getattr_static", (b"}", text("keys"))),
    ("unittest.mock", "_importer", (text("os"),)),
    ("codeop", "compile_command", (text(CODE),)),
    ("types", "LambdaType", ()),
    ("_interpreters", "run_string", (number(0), text(CODE))),
    ("_xxsubinterpreters", "run_string", (number(0), text(CODE))),
    ("_frozen_importlib", "_gcd_import", (text("os"),)),
    ("_frozen_importlib_external", "SourceFileLoader", (text("x"), text("PWNED"))),
    ("_imp", "create_dynamic", (text("x"),)),
    ("imp", "load_source", (text("x"), text("PWNED"))),
    ("_posixsubprocess", "fork_exec", ()),
    ("multiprocessing.context", "Process", ()),
    ("asyncio.unix_events", "_UnixSubprocessTransport._start", ()),
    ("threading", "Thread", ()),
    ("_thread", "start_new_thread", (name("os", "system"), tuple_of(text(COMMAND)))),
    ("atexit", "register", (name("os", "system"), text(COMMAND))),
    ("_aix_support", "_read_cmd_output", (text(COMMAND),)),
    ("_pyrepl.pager", "pipe_pager", (text("x"), text(COMMAND))),
    ("pexpect", "spawn", (text("sh"),)),
    ("pipes", "Template", ()),
    ("code", "InteractiveInterpreter.runcode", (b"N", text(CODE))),
    ("idlelib.pyshell", "ModifiedInterpreter.runcode", (b"N", text(CODE))),
    ("idlelib.autocomplete", "AutoComplete.get_entity", (b"N", text(CODE))),
    ("idlelib.debugobj", "ObjectTreeItem.SetText", (b"N", text(CODE))),
    ("lib2to3.pgen2.pgen", "ParserGenerator.make_label", (b"N", text(CODE))),
    ("http.client", "HTTPSConnection", (text("localhost"),)),
    ("urllib2", "urlopen", (text("http://localhost/"),)),
    ("requests.api", "get", (text("http://localhost/"),)),
    ("aiohttp.client", "ClientSession", ()),
    ("ftplib", "FTP", (text("localhost"),)),
    ("poplib", "POP3", (text("localhost"),)),
    ("smtplib", "SMTP", (text("localhost"),)),
    ("telnetlib", "Telnet", (text("localhost"),)),
    ("xmlrpc.client", "ServerProxy", (text("http://localhost/"),)),
    ("socketserver", "TCPServer", ()),
    ("sqlite3", "connect", (text("PWNED"),)),
    ("shelve", "open", (text("PWNED"),)),
    ("tempfile", "mkstemp", ()),
    ("tarfile", "open", (text("PWNED"),)),
    ("zipfile", "ZipFile", (text("PWNED"), text("w"))),
    ("pathlib", "PosixPath", (text("PWNED"),)),
    ("linecache", "getlines", (text("PWNED"),)),
    ("py_compile", "compile", (text("PWNED"),)),
    ("mmap", "mmap", (number(-1), number(1 << 40))),
    ("_ctypes", "dlopen", (text("libc.so.6"), number(2))),
    ("dill", "loads", (text("x"),)),
    ("joblib", "load", (text("PWNED"),)),
    ("fickling.hook", "remove_hook", ()),
    ("numpy", "poly1d", ()),
    ("numpy", "ctypeslib.load_library", (text("x"), text("."))),
    ("torch", "ops.load_library", (text("PWNED"),)),
    ("torch", "device", (text("cuda"),)),
    ("torch", "zeros", (number(1 << 40),)),
    ("torch.storage", "UntypedStorage", (number(1 << 40),)),
    ("torch.package", "PackageImporter", (text("PWNED"),)),
    ("torch.distributed.rpc.internal", "_run_function", (text("x"),)),
    ("torch.utils.cpp_extension", "load_inline", (text("x"), text("x"))),
    ("torch.utils.model_zoo", "load_url", (text("http://localhost/"),)),
    ("torch.utils.collect_env", "run_and_read_all", (b"N", text(COMMAND))),
    ("torch._C", "import_ir_module_from_buffer", (text("x"),)),
    ("torch._utils", "_rebuild_sparse_tensor", (b"N", b")")),
    ("torch._utils", "_rebuild_nested_tensor", (b"N", b"N", b"N", b"N")),
    ("torch._utils", "_rebuild_qtensor", (b"N", number(0), b")", b")", b"N", b"N", b"N")),
    ("torch._utils", "_rebuild_meta_tensor_no_storage", (b"N", tuple_of(number(1 << 40)), b")", b"\x89")),
    ("torch._utils", "_rebuild_device_tensor_from_numpy", (b"N", b"N", text("cpu"), b"\x89")),
    ("torch.nn.parameter", "Parameter", (b"N",)),
    ("hypernet", "save", ()),
    ("hypernet.files", "load", (text("PWNED"),)),
)

SYSTEM = call("os", "system", text(COMMAND))


def calls() -> Iterator[tuple[str, bytes]]:
    """One file per name: the name is called and what it gives is the name of the network."""
    for module, attribute, arguments in CALLS:
        content = network(None, None, (text("name"), call(module, attribute, *arguments)))
        yield f"call {module} {attribute}.pt", zipped(content)


def ways_to_call() -> dict[str, bytes]:
    """The other instructions by which a pickle gets at code, and the other places where it may do so."""
    by_stack = text("os") + text("system") + b"\x93" + tuple_of(text(COMMAND)) + b"R"
    code = name("os", "system") + tuple_of(text(COMMAND))
    chain = call("builtins", "getattr", call("builtins", "__import__", text("os")), text("system"))
    ways = {
        "STACK_GLOBAL": by_stack,
        "STACK_GLOBAL from the memo": text("os") + b"q\x01" + text("system") + b"q\x020h\x01h\x02\x93)R",
        "STACK_GLOBAL of letters picked from a text": name("operator", "itemgetter") + tuple_of(number(0)) + b"R",
        "STACK_GLOBAL behind a frame's end": b"\x95" + struct.pack("<Q", 3) + by_stack,
        "STACK_GLOBAL of a text of protocol 0": b"Vos\nVsystem\n\x93)R",
        "STACK_GLOBAL of a text of Python 2": b"S'os'\nU\x06system\x93)R",
        "STACK_GLOBAL of no texts": number(1) + number(2) + b"\x93",
        "STACK_GLOBAL with a dotted name": text("torch") + text("_utils.os.system") + b"\x93)R",
        "STACK_GLOBAL through a class": text("collections") + text("OrderedDict.__init__.__globals__") + b"\x93",
        "INST": b"(" + text(COMMAND) + b"ios\nsystem\n",
        "OBJ": b"(" + name("os", "system") + text(COMMAND) + b"o",
        "OBJ whose result is dropped": b"(" + name("os", "system") + text(COMMAND) + b"o0N",
        "INST whose result is dropped": b"(" + text(COMMAND) + b"ios\nsystem\n0N",
        "REDUCE before a dropped mark": b"(" + SYSTEM + b"1N",
        "a nested pickle": call("_pickle", "loads", b"C\x05cos\nx"),
        "NEWOBJ": code + b"\x81",
        "NEWOBJ of OrderedDict": name("collections", "OrderedDict") + b")\x81",
        "NEWOBJ_EX": code + b"}\x92",
        "EXT1": b"\x82\x01)R",
        "EXT2": b"\x83\x01\x00)R",
        "EXT4": b"\x84\x01\x00\x00\x00)R",
        "a chain of getattr": chain + tuple_of(text(COMMAND)) + b"R",
        "BUILD on OrderedDict's type": name("collections", "OrderedDict") + table((text("x"), SYSTEM)) + b"b",
        "BUILD with __setstate__": name("collections", "OrderedDict")
        + b")R"
        + table((text("__setstate__"), SYSTEM))
        + b"b",
        "BUILD on a known function": name("torch._utils", "_rebuild_tensor_v2")
        + table((text("__code__"), b"N"))
        + b"b",
        "BUILD on a size": name("torch", "Size") + b")R}b",
        "BUILD on a list": b"]" + table((text("append"), SYSTEM)) + b"b",
        "BUILD on a number's type": call("numpy", "dtype", text("f8")) + tuple_of(number(3), SYSTEM) + b"b",
        "BUILD with slots": name("collections", "OrderedDict")
        + b")R"
        + tuple_of(b"N", table((text("x"), SYSTEM)))
        + b"b",
        "BUILD on a storage": storage() + b"}b",
        "BUILD on a storage type": name("torch", "FloatStorage") + b"}b",
        "BUILD on a tensor": tensor() + table((text("data"), number(1))) + b"b",
        "REDUCE of a storage type": name("torch", "FloatStorage") + tuple_of(number(1 << 40)) + b"R",
        "REDUCE of a text": text("os.system") + tuple_of(text(COMMAND)) + b"R",
        "REDUCE with a list": name("collections", "OrderedDict") + b"]R",
        "a name with a space": b"cos system\n\n" + b")R",
        "a name in other letters": b"c\xd0\xbes\nsystem\n)R",
        "a known name in another module": call("torch.utils", "_rebuild_tensor_v2"),
        "OrderedDict of a list": call("collections", "OrderedDict", b"](" + tuple_of(text("x"), SYSTEM) + b"e"),
        "a set": b"\x8f(" + text("x") + b"\x90",
        "a frozen set": b"(" + text("x") + b"\x91",
        "a byte array": b"\x96" + struct.pack("<Q", 3) + b"abc",
        "a buffer from outside": b"\x97",
        "a text for a persistent id": b"Pstorage\n",
        "hooks": tensor(hooks=SYSTEM),
        "numpy's encode": call("_codecs", "encode", text("x"), text("rot13")),
        "a numpy type that runs code": call("numpy", "dtype", text("O8"), b"\x89", b"\x88"),
        "a numpy scalar of objects": call(
            "numpy.core.multiarray", "scalar", call("numpy", "dtype", text("O8")), SYSTEM
        ),
    }
    made = {
        f"way {way}.pt": zipped(network(None, None, (text("name"), code)), protocol=4) for way, code in ways.items()
    }
    made |= {
        "way as a key.pt": zipped(network(None, None, (SYSTEM, text("x")))),
        "way as a width.pt": zipped(network(width=SYSTEM)),
        "way as a weight.pt": zipped(network(net(SYSTEM))),
        "way as the whole.pt": zipped(SYSTEM),
        "way before the rest.pt": zipped(SYSTEM + b"0" + network()),
        "way in a persistent id.pt": zipped(network(net(tensor(stored=tuple_of(SYSTEM) + b"Q")))),
        "way as a storage's type.pt": zipped(network(net(tensor(stored=storage("0", 64, "FloatStorage", SYSTEM))))),
        "way behind the end.pt": zipped(network() + b"." + b"\x80\x02" + SYSTEM),
        "way in a parameter.pt": zipped(
            network(net(call("torch._utils", "_rebuild_parameter", SYSTEM, b"\x88", b"}")))
        ),
    }
    return made


def legacy_calls() -> dict[str, bytes]:
    """Code in each of the five pickles of an old file."""
    whole = legacy(network())
    magic, protocol = pickle.dumps(MAGIC, 2), pickle.dumps(1001, 2)
    bad = b"\x80\x02" + SYSTEM + b"."
    return {
        "legacy call in the object.pt": legacy(SYSTEM),
        "legacy call in a fact.pt": legacy(network(None, None, (text("name"), SYSTEM))),
        "legacy call as the magic number.pt": bad + whole,
        "legacy call as the protocol.pt": magic + bad,
        "legacy call as system facts.pt": magic + protocol + bad,
        "legacy call as the keys.pt": whole[: whole.index(b"]q\x00X")] + SYSTEM + b".",
        "legacy a bare pickle that calls.pt": bad,
        "legacy a bare pickle of protocol 0.pt": b"cos\nsystem\n(S'echo > PWNED'\ntR.",
        "legacy a bare pickle of protocol 4.pt": pickle.dumps({"a": 1}, 4),
        "legacy a wrong magic number.pt": pickle.dumps(MAGIC + 1, 2) + whole[len(magic) :],
        "legacy a wrong protocol.pt": magic + pickle.dumps(1002, 2) + whole[len(magic) + len(protocol) :],
        "legacy big-endian.pt": whole.replace(b"little_endian" + b"q\x02\x88", b"little_endian" + b"q\x02\x89"),
        "legacy no keys.pt": legacy(network(), b"", ()),
        "legacy a list doubled 40 times as the magic number.pt": b"\x80\x02" + doubled_list() + b".",
        "legacy keys that are no texts.pt": legacy(network(), keys=[["0"]]),
        "legacy a key twice.pt": legacy(network(), keys=["0", "0"]),
        "legacy bytes behind the end.pt": legacy(network()) + zipped(SYSTEM),
        "legacy one byte behind the end.pt": legacy(network()) + b"x",
        "legacy data that is missing.pt": legacy(network(), b"", ()),
        "legacy one storage of two types.pt": legacy(
            storage("0", 128, "HalfStorage") + b"0" + network(), struct.pack("<q", 64) + bytes(256)
        ),
        "legacy a key of no tensor.pt": legacy(network(), keys=["1"]),
        "legacy another number of elements.pt": legacy(network(), struct.pack("<q", 65) + bytes(260)),
        "legacy a negative number of elements.pt": legacy(network(), struct.pack("<q", -1) + bytes(256)),
        "legacy fewer bytes than elements.pt": legacy(network(), struct.pack("<q", 64) + bytes(100)),
        "legacy 2 to the 47 elements.pt": legacy(
            network(net(tensor(stored=storage("0", 1 << 47)))), struct.pack("<q", 1 << 47) + bytes(256)
        ),
        "legacy a view of a storage.pt": legacy(
            network(net(tensor(stored=storage("0", 64, "FloatStorage", tuple_of(text("1"), number(0), number(8))))))
        ),
        "legacy one key with two types.pt": legacy(
            network(net(tensor(stored=storage("0", 64, "DoubleStorage"))), net(tensor()))
        ),
    }


# ---------------------------------------------------------------- pickles that bloat, loop or make no sense


def doubled_list() -> bytes:
    """A list of twice a list of twice a list ...: a billion lists in 400 bytes."""
    steps = (b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) + b"0" for i in range(40))
    return b"]q\x000" + b"".join(steps) + b"h\x28"


def bombs() -> dict[str, bytes]:
    copied = b"](" + number(1) * 2000 + b"eq\x00" + b"(" + b"h\x00" * 40000 + b"t"
    sizes = b"(" + number(1) * 20000 + b"tq\x00" + b"0"
    many_sizes = sizes + b"".join(name("torch", "Size") + b"(h\x00tR0" for _ in range(2000)) + b"N"
    encoded = text("x" * 60000) + b"q\x000" + b"(" + (name("_codecs", "encode") + b"(h\x00tR") * 2000 + b"t"
    doubled = doubled_list()
    facts = {
        "a list doubled 40 times as a name": doubled + text("x") + b"\x93",
        "a list doubled 40 times as a type": call("numpy", "dtype", doubled),
        "a list doubled 40 times as an encoding": call("_codecs", "encode", text("x"), doubled),
        "a list doubled 40 times as an offset": call(
            "torch._utils", "_rebuild_tensor_v2", storage(), doubled, b")", b")"
        ),
        "a list doubled 40 times as a size": call(
            "torch._utils", "_rebuild_tensor_v2", storage(), number(0), doubled, b")"
        ),
        "a list doubled 40 times as a persistent id": doubled + b"Q",
        "a list doubled 40 times as a state": call("numpy", "dtype", text("f8")) + doubled + b"b",
        "a list doubled 40 times as a key": b"}" + doubled + b"Ns",
        "a list that holds itself": b"]q\x00h\x00a",
        "a table that holds itself": b"}q\x00" + text("x") + b"h\x00s",
        "a tuple in a list in it": b"]q\x00(h\x00tq\x01h\x01a0h\x01",
        "a list doubled 40 times": doubled,
        "a list copied 40,000 times": copied,
        "a list of a list of a list": b"](" + text("x") * 300 + b"e" + b"q\x00](" + b"h\x00" * 400 + b"e",
        "lists 20,000 deep": b"]" * 20000 + b"a" * 19999,
        "tuples 30,000 deep": b")" + b"\x85" * 30000,
        "tuples 30,000 deep as a key": b"}" + b")" + b"\x85" * 30000 + b"Ns",
        "a long tuple as a size, often": many_sizes,
        "a text encoded often": encoded,
        "marks, 50,000": b"(" * 50000,
        "a number of 8,000 bits": b"\x8a\xff" + b"\x7f" * 255 + b"\x8b" + struct.pack("<i", 1000) + b"\x7f" * 1000,
        "a number of 100,000 digits": b"I" + b"9" * 100000 + b"\n",
        "a long of 100,000 digits": b"L" + b"9" * 100000 + b"L\n",
        "a number of a million digits": b"I" + b"9" * 1_000_000 + b"\n",
        "a long of a million digits": b"L" + b"9" * 1_000_000 + b"L\n",
        "a float of a million digits": b"F" + b"9" * 1_000_000 + b"\n",
        "a memo slot of a million digits": b"Np" + b"9" * 1_000_000 + b"\n",
        "a name of a million letters": b"c" + b"x" * 1_000_000 + b"\n",
        "a text said to have 4 GB": b"X\xff\xff\xff\xffabc",
        "a text said to have 2 to the 63 bytes": b"\x8d" + struct.pack("<Q", 1 << 63) + b"abc",
        "bytes said to have 2 to the 62 bytes": b"\x8e" + struct.pack("<Q", 1 << 62) + b"abc",
        "a long said to have 2 GB": b"\x8b\xff\xff\xff\x7fabc",
        "a long of negative length": b"\x8b\xff\xff\xff\xffabc",
        "a frame of 2 to the 60 bytes": b"\x95" + struct.pack("<Q", 1 << 60) + b"N",
        "a memo slot of 4 billion": b"Nr\xff\xff\xff\xff",
        "a memo slot that is empty": b"h\x77",
        "a memo slot below zero": b"Np-1\ng-1\n",
        "an append to a number": number(1) + number(2) + b"a",
        "more for a tensor": tensor() + text("x") + b"a",
        "more for a storage": storage() + b"(" + text("x") + b"e",
        "items for a tuple": b")" + text("x") + text("y") + b"s",
        "items for a list": b"](" + text("x") + text("y") + b"u",
        "items for a size": name("torch", "Size") + b")R(" + number(0) + number(1 << 40) + b"u",
        "items for a storage": storage() + text("x") + text("y") + b"s",
        "items for a tensor": tensor() + text("x") + text("y") + b"s",
        "an odd number of items": b"}(" + text("x") + b"u",
        "a float of letters": b"Fabc\n",
        "a text of invalid UTF-8": text(b"\xff\xfe\xfd"),
        "a text of half a surrogate": text("\ud800"),
        "a name with a newline of its own": b"cos\r\nsystem\n",
        "a name without an end": b"cos",
        "an unknown instruction": b"\xff",
        "protocol 200": b"\x80\xc8N",
        "a text of 1 MB": text("x" * 70000),
        "a terminal escape": text("\x1b]0;PWNED\x07\x1b[2J"),
        "a NUL": text("a\0b"),
        "a backspace": text("a\x08\x08b"),
        "an 8-bit terminal escape": text("\x9b2J"),
    }
    made = {
        f"pickle {what}.pt": zipped(network(None, None, (text("name"), code)), protocol=4)
        for what, code in facts.items()
    }
    made |= {
        "pickle nothing.pt": archive({"a/data.pkl": b"", "a/version": b"3\n"}),
        "pickle only a stop.pt": archive({"a/data.pkl": b".", "a/version": b"3\n"}),
        "pickle no stop.pt": archive({"a/data.pkl": b"\x80\x02}", "a/version": b"3\n"}),
        "pickle a list doubled 40 times as a weight.pt": zipped(network(net(doubled))),
        "pickle a list doubled 40 times as a net.pt": zipped(network(doubled)),
        "pickle a list doubled 40 times as a pair.pt": zipped(table((number(8), doubled))),
        "pickle a list doubled 40 times as everything.pt": zipped(doubled),
        "pickle a pop of nothing.pt": zipped(b"0"),
        "pickle a terminal escape as a key.pt": zipped(network(None, None, (text("\x1b[2J"), text("x")))),
        "pickle a list that holds itself as everything.pt": zipped(b"]q\x00h\x00a"),
        "pickle a table that holds itself as a net.pt": zipped(
            network(b"}q\x00" + text("linear.0.weight") + b"h\x00s")
        ),
    }
    return made


# ---------------------------------------------------------------- tensors that lie


def tensors_that_lie() -> dict[str, bytes]:
    nan, infinity = struct.pack("<f", float("nan")), struct.pack("<f", float("-inf"))
    weights = {
        "a shape beyond the storage": tensor((9, 8), (8, 1)),
        "an offset beyond the storage": tensor(offset=1),
        "strides beyond the storage": tensor(strides=(9, 1)),
        "negative strides": tensor(strides=(-8, 1)),
        "a negative offset": tensor(offset=-1),
        "a negative size": tensor((-8, -8), (8, 1)),
        "a size of 2 to the 40": tensor((1 << 40, 8), (0, 0)),
        "a size of 2 to the 62": tensor((1 << 62, 8), (8, 1)),
        "a size of 2 to the 200": tensor((1 << 200, 8), (8, 1)),
        "strides of zero": tensor(strides=(0, 0)),
        "strides that overlap": tensor(strides=(1, 1)),
        "more strides than sizes": tensor((8, 8), (8, 1, 1)),
        "a thousand axes": tensor((1,) * 1000, (1,) * 1000),
        "a size that is a text": call(
            "torch._utils", "_rebuild_tensor_v2", storage(), number(0), text("88"), text("81")
        ),
        "a size that is true": tensor().replace(number(8), b"\x88"),
        "no arguments": call("torch._utils", "_rebuild_tensor_v2"),
        "no storage": tensor(stored=b"N"),
        "no axis": tensor((), ()),
        "no elements": tensor((0, 8), (8, 1)),
        "one axis": tensor((64,), (1,)),
        "three axes": tensor((4, 4, 4), (16, 4, 1)),
        "a storage of 2 to the 47 elements": tensor(stored=storage("0", 1 << 47)),
        "a storage of negative length": tensor(stored=storage("0", -1)),
        "a storage that is missing": tensor(stored=storage("7")),
        "a storage outside": tensor(stored=storage("../../0")),
        "a storage with a name of 50,000 letters": tensor(stored=storage("0" * 50000)),
        "a storage of another length": tensor(stored=storage("0", 65)),
        "a storage of whole numbers": tensor(stored=storage("0", 32, "LongStorage"), shape=(4, 8)),
        "a storage of truth values": tensor(stored=storage("0", 256, "BoolStorage")),
        "a storage of complex numbers": tensor(stored=storage("0", 32, "ComplexFloatStorage"), shape=(4, 8)),
        "a storage of quantised numbers": tensor(stored=storage("0", 256, "QInt8Storage")),
        "a storage of bare bytes": tensor(stored=storage("0", 256, "UntypedStorage")),
        "a storage with more facts": tensor(stored=storage("0", 64, "FloatStorage", b"N", b"N")),
        "a persistent id of another kind": tensor(stored=tuple_of(text("module"), text("x")) + b"Q"),
        "a persistent id that is no tuple": tensor(stored=number(5) + b"Q"),
        "a persistent id that is a list": tensor(stored=b"](" + text("storage") + b"eQ"),
        "a persistent id that is empty": tensor(stored=b")Q"),
        "a persistent id in a persistent id": tensor(stored=storage() + b"Q"),
        "a persistent id with a text for its type": tensor(
            stored=tuple_of(text("storage"), text("FloatStorage"), text("0"), text("cpu"), number(64)) + b"Q"
        ),
        "a persistent id with a number for its key": tensor(
            stored=tuple_of(text("storage"), name("torch", "FloatStorage"), number(0), text("cpu"), number(64)) + b"Q"
        ),
        "a persistent id with a number for its place": tensor(
            stored=tuple_of(text("storage"), name("torch", "FloatStorage"), text("0"), number(0), number(64)) + b"Q"
        ),
        "a persistent id with a float for its length": tensor(
            stored=tuple_of(text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), b"G" + bytes(8))
            + b"Q"
        ),
        "a persistent id with a tensor for its type": tensor(stored=tuple_of(text("storage"), tensor()) + b"Q"),
        "another width": tensor((4, 8), (8, 1)),
    }
    made = {f"tensor {what}.pt": zipped(network(net(weight), net(weight))) for what, weight in weights.items()}
    many = tuple((text(f"linear.{i}.weight"), tensor()) for i in range(10_000))
    made |= {
        "tensor NaN.pt": zipped(network(), bytes(252) + nan),
        "tensor infinite.pt": zipped(network(), infinity + bytes(252)),
        "tensor K without V.pt": zipped(table((number(8), b"](" + net() + b"e"))),
        "tensor V is nothing.pt": zipped(network(net(), b"N")),
        "tensor three nets.pt": zipped(table((number(8), tuple_of(net(), net(), net())))),
        "tensor a table of nets.pt": zipped(table((number(8), table((number(0), net()), (number(1), net()))))),
        "tensor a width of zero.pt": zipped(network(width=number(0))),
        "tensor a width below zero.pt": zipped(network(width=number(-8))),
        "tensor a width of 2 to the 70.pt": zipped(network(width=number(1 << 70))),
        "tensor a width that is true.pt": zipped(network(width=b"\x88")),
        "tensor a width that is a tuple.pt": zipped(network(width=tuple_of(number(8)))),
        "tensor a width that is a float.pt": zipped(network(width=b"G" + struct.pack(">d", 8.0))),
        "tensor another width.pt": zipped(network(width=number(16))),
        "tensor one width as number and text.pt": zipped(
            table((number(8), tuple_of(net(), net())), (text("8"), tuple_of(net(), net())))
        ),
        "tensor a name that is a number.pt": zipped(network(net(called=number(0)))),
        "tensor a name of another model.pt": zipped(network(net(called=text("down_blocks.0.attn1.to_k.weight")))),
        "tensor a name with markup.pt": zipped(network(net(called=text("<img src=x onerror=alert(1)>")))),
        "tensor a name of 60,000 letters.pt": zipped(network(net(called=text("linear." + "0" * 60000)))),
        "tensor an index of 4,000 digits.pt": zipped(network(net(called=text(f"linear.{'9' * 4000}.weight")))),
        "tensor an index in other digits.pt": zipped(network(net(called=text("linear.٠.weight")))),
        "tensor 600 tensors on the same numbers.pt": zipped(
            table(*((number(8 + i), tuple_of(net(), net())) for i in range(300)))
        ),
        "tensor 10,000 layers.pt": zipped(network(table(*many[:2000]), table(*many[:2000]))),
        "tensor an activation with markup.pt": zipped(network(None, None, (text("activation_func"), text("<script>")))),
        "tensor an activation of another library.pt": zipped(
            network(None, None, (text("activation_func"), text("os.system")))
        ),
        "tensor one storage of two types.pt": zipped(
            network(net(), net(tensor(stored=storage("0", 128, "HalfStorage"))))
        ),
        "tensor one storage of two lengths.pt": zipped(network(net(), net(tensor((4, 8), stored=storage("0", 32))))),
        "tensor one storage of two types, one of them unused.pt": zipped(
            storage("0", 128, "HalfStorage") + b"0" + network()
        ),
        "tensor a negated view.pt": zipped(network(net(negated("neg")), net(negated("conj")))),
        "tensor hooks that are there.pt": zipped(network(*[net(tensor(hooks=table((number(0), text("x")))))] * 2)),
        "tensor a quantised tensor.pt": zipped(network(net(call("torch._utils", "_rebuild_qtensor")))),
        "tensor a sparse tensor.pt": zipped(network(net(call("torch._utils", "_rebuild_sparse_tensor")))),
        "tensor a tensor without numbers.pt": zipped(
            network(net(call("torch._utils", "_rebuild_meta_tensor_no_storage")))
        ),
        **arrays_that_lie(),
        "tensor half infinite.pt": zipped(
            network(*[net(tensor(stored=storage("0", 128, "HalfStorage")))] * 2), b"\x00\x7c" * 128
        ),
        "tensor bfloat16 NaN.pt": zipped(
            network(*[net(tensor(stored=storage("0", 128, "BFloat16Storage")))] * 2), b"\xc0\xff" * 128
        ),
        "tensor double NaN.pt": zipped(
            network(*[net(tensor((4, 8), stored=storage("0", 32, "DoubleStorage")))] * 2), b"\xff" * 256
        ),
    }
    return made


def negated(bit: str) -> bytes:
    """A tensor whose numbers PyTorch shows with another sign than they are stored."""
    hooks = name("collections", "OrderedDict") + b")R"
    sizes = (number(0), tuple_of(number(8), number(8)), tuple_of(number(8), number(1)))
    facts = table((text(bit), b"\x88"))
    return call("torch._utils", "_rebuild_tensor_v2", storage(), *sizes, b"\x89", hooks, facts)


def array(
    shape: tuple[int, ...] = (8, 8),
    data: bytes | None = None,
    code: str = "f4",
    order: str = "<",
    fortran: bytes = b"\x89",
    kind: bytes | None = None,
) -> bytes:
    """A numpy array as pickle's protocol 2 has it. data: the numbers, or the instructions that make them."""
    numbers = call("_codecs", "encode", text("\0" * 256), text("latin1")) if data is None else data
    dtype = call("numpy", "dtype", text(code), b"\x89", b"\x88")
    dtype += tuple_of(number(3), text(order), b"N", b"N", b"N", number(-1), number(-1), number(0)) + b"b"
    empty = call(
        "numpy.core.multiarray",
        "_reconstruct",
        kind or name("numpy", "ndarray"),
        tuple_of(number(0)),
        call("_codecs", "encode", text("b"), text("latin1")),
    )
    return empty + tuple_of(number(1), tuple_of(*map(number, shape)), dtype, fortran, numbers) + b"b"


def on_device(
    made: bytes | None = None,
    dtype: str = "float32",
    device: str = "mps:0",
    builder: str = "_rebuild_device_tensor_from_numpy",
) -> bytes:
    """A tensor of a device without storages."""
    return call("torch._utils", builder, made or array(), name("torch", dtype), text(device), b"\x89")


def arrays_that_lie() -> dict[str, bytes]:
    encoded = call("_codecs", "encode", text("\0" * 255), text("latin1"))
    weights = {
        "an array with too little data": on_device(array(data=encoded)),
        "an array with data in other letters": on_device(array(data=call("_codecs", "encode", text("水" * 256)))),
        "an array with its data as a text": on_device(array(data=text("\0" * 256))),
        "an array of 2 to the 40 numbers": on_device(array((1 << 40,))),
        "an array of objects": on_device(array(code="O8")),
        "an array of whole numbers": on_device(array(code="i4")),
        "an array of another byte order": on_device(array(order=">")),
        "an array of a class of its own": on_device(array(kind=name("os", "system"))),
        "an array of another known class": on_device(array(kind=name("torch", "Tensor"))),
        "an array that is empty": on_device(
            call("numpy.core.multiarray", "_reconstruct", name("numpy", "ndarray"), tuple_of(number(0)), b"C\x01b")
        ),
        "an array that is filled twice": on_device(array() + array()[array().index(b"(J\x01") :]),
        "an array with a long text for its type": on_device(array(code="f4" * 40000)),
        "an array of another type in use": on_device(dtype="int64"),
        "an array on a device that is code": call(
            "torch._utils", "_rebuild_device_tensor_from_numpy", array(), name("torch", "float32"), SYSTEM, b"\x89"
        ),
        "an array of NaN": on_device(array(data=call("_codecs", "encode", text("\xff" * 256)))),
        "an array whose text stays unused": on_device() + call("_codecs", "encode", text("x" * 300_000)) + b"0",
    }
    return {f"tensor {what}.pt": zipped(network(net(weight), net(weight)), None, 4) for what, weight in weights.items()}


# ---------------------------------------------------------------- zip archives that lie

CONTENT = b"\x80\x02" + network() + b"."


def patched(data: bytes, signature: bytes, offset: int, value: bytes, which: int = 0) -> bytes:
    """The archive with some bytes replaced, counted from the n-th place where a signature stands."""
    at = -1
    for _ in range(which + 1):
        at = data.index(signature, at + 1)
    return data[: at + offset] + value + data[at + offset + len(value) :]


def zips() -> dict[str, bytes]:
    good = zipped(network())
    central, local, end = b"PK\1\2", b"PK\3\4", b"PK\5\6"
    records = {"a/data.pkl": CONTENT, "a/data/0": bytes(256), "a/version": b"3\n"}
    twice = archive({"a/data.pkl": CONTENT, "a/data.pkm": b"\x80\x02" + SYSTEM + b".", "a/data/0": bytes(256)})
    link = io.BytesIO()
    with zipfile.ZipFile(link, "w") as made:
        for path, data in records.items():
            made.writestr(zipfile.ZipInfo(path), data)
        entry = zipfile.ZipInfo("a/data/1")
        entry.external_attr = 0o120777 << 16
        made.writestr(entry, "/etc/passwd")
    end_at = good.index(end)
    inner = zipped(SYSTEM)
    overlapping = archive(records | {"a/data/0": inner[inner.index(local) :][:256].ljust(256, b"\0")})
    kernel = archive({"a/data/0": bytes(100_000), "a/data/1": b"", "a/data.pkl": CONTENT}).replace(
        b"a/data/1", b"a/data/0"
    )
    wide = good[:end_at] + struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1 << 60, 1 << 60, 1 << 60, 1 << 60)
    wide += struct.pack("<4sLQL", b"PK\6\7", 0, end_at, 1) + good[end_at:]
    lost = good[:end_at] + struct.pack("<4sLQL", b"PK\6\7", 0, 1 << 62, 1) + good[end_at:]
    return {
        "zip data twice.pt": twice.replace(b"a/data.pkm", b"a/data.pkl"),
        "zip two folders.pt": archive(records | {"b/data.pkl": CONTENT}),
        "zip no data.pt": archive({"a/data/0": bytes(256), "a/version": b"3\n"}),
        "zip data at the top.pt": archive({"data.pkl": CONTENT, "data/0": bytes(256)}),
        "zip data of another name.pt": archive({"a/config.p": CONTENT, "a/data/0": bytes(256)}),
        "zip a name that climbs out.pt": archive(records | {"../../PWNED": b"x"}),
        "zip a folder that climbs out.pt": archive({f"../{path[2:]}": data for path, data in records.items()}),
        "zip an absolute name.pt": archive(records | {"/PWNED": b"x"}),
        "zip a name of Windows.pt": good.replace(b"a/version", b"a\\versio2"),
        "zip a drive letter.pt": archive({f"C:/{path[2:]}": data for path, data in records.items()}),
        "zip a NUL in a name.pt": good.replace(b"a/version", b"a/ver\0ion"),
        "zip a name of invalid UTF-8.pt": good.replace(b"a/version", b"a/\xff\xfe\xfd\xfc\xfb\xfa\xf9"),
        "zip a name of 60,000 letters.pt": archive(records | {"a/" + "x" * 60000: b"x"}),
        "zip a link.pt": link.getvalue(),
        "zip code of TorchScript.pt": archive(
            records | {"a/code/__torch__.py": CODE.encode(), "a/constants.pkl": b"."}
        ),
        "zip compressed.pt": archive(records, zipfile.ZIP_DEFLATED),
        "zip compressed with lzma.pt": archive(records, zipfile.ZIP_LZMA),
        "zip a bomb.pt": archive({"a/data.pkl": bytes(10_000_000), "a/version": b"3\n"}, zipfile.ZIP_DEFLATED),
        "zip encrypted in the directory.pt": patched(good, central, 8, b"\1\0"),
        "zip encrypted in front of the data.pt": patched(good, local, 6, b"\1\0"),
        "zip patched data in the directory.pt": patched(good, central, 8, b"\x20\0"),
        "zip strong encryption in the directory.pt": patched(good, central, 8, b"\x40\0"),
        "zip another name in front of the data.pt": good.replace(b"a/data.pkl", b"b/data.pkl", 1),
        "zip another name in the directory.pt": patched(good, central, 46, b"b"),
        "zip compressed in front of the data.pt": patched(good, local, 8, b"\x08\0"),
        "zip a size beyond the file.pt": patched(good, central, 20, struct.pack("<2L", 1 << 30, 1 << 30), 1),
        "zip a size of 4 GB.pt": patched(good, central, 20, struct.pack("<2L", 0xFFFFFFFF, 0xFFFFFFFF), 1),
        "zip two sizes.pt": patched(good, central, 20, struct.pack("<2L", 10, 256), 1),
        "zip a header beyond the file.pt": patched(good, central, 42, struct.pack("<L", 1 << 30)),
        "zip a header in the middle of the data.pt": patched(good, central, 42, struct.pack("<L", 7)),
        "zip an entry on another disk.pt": patched(good, central, 34, b"\1\0"),
        "zip an entry with a damaged signature.pt": good.replace(central, b"PK\1\3", 1),
        "zip a long name in the directory.pt": patched(good, central, 28, b"\xff\xff"),
        "zip a long extra in front of the data.pt": patched(good, local, 28, b"\xff\xff"),
        "zip an end on another disk.pt": patched(good, end, 4, b"\1\0"),
        "zip 65,535 entries.pt": patched(good, end, 8, b"\xff\xff\xff\xff"),
        "zip more entries than there are.pt": patched(good, end, 8, b"\x09\0\x09\0"),
        "zip no entries.pt": patched(good, end, 8, b"\0\0\0\0"),
        "zip a directory beyond the file.pt": patched(good, end, 16, struct.pack("<L", 1 << 31)),
        "zip a directory of 4 GB.pt": patched(good, end, 12, struct.pack("<L", 0xFFFFFFFF)),
        "zip a directory of 2 to the 60 bytes.pt": wide,
        "zip a directory that is elsewhere.pt": lost,
        "zip an end in the comment.pt": good[:-2] + struct.pack("<H", 22) + end + bytes(18),
        "zip without an end.pt": good[: good.index(end)],
        "zip only its first bytes.pt": good[:4],
        "zip within a zip.pt": archive({"ink.pt": good}),
        "zip big-endian.pt": archive(records | {"a/byteorder": b"big"}),
        "zip a byte order of 1 MB.pt": archive(records | {"a/byteorder": b"l" * 5000}),
        "zip records that overlap.pt": patched(good, central, 42, struct.pack("<L", good.index(b"a/data/0") - 30), 2),
        "zip a record within another.pt": patched(
            overlapping, central, 42, struct.pack("<L", overlapping.index(local, overlapping.index(b"a/data/0"))), 0
        ),
        "zip one record listed twice.pt": kernel,
        "zip two sizes in front of the data.pt": patched(good, local, 18, struct.pack("<2L", 5, 5)),
        "zip lengths behind the data that are not its own.pt": patched(
            patched(good, local, 6, b"\x08\0"), local, 18, struct.pack("<2L", 7, 7)
        ),
        "zip another checksum.pt": patched(zipped(SYSTEM), central, 16, b"\1\2\3\4"),
        "zip a wide size in front of the data.pt": patched(good, local, 18, struct.pack("<2L", 1 << 31, 1 << 31)),
        "zip a directory with more behind it.pt": patched(
            good, end, 12, struct.pack("<L", end_at - good.index(central) - 1)
        ),
        "zip two archives.pt": good + zipped(SYSTEM),
        "zip something in front.pt": b"PK\3\4" + bytes(40) + good,
        "zip code before the archive.pt": b"\x80\x02" + SYSTEM + b"." + good,
        "zip an unknown compression.pt": patched(good, central, 10, b"\x5f\0"),
        "zip data cut short.pt": archive(records | {"a/data/0": bytes(255)}),
        "zip data that no tensor uses.pt": archive(records | {"a/data/1": inner}),
        "zip a long fact.pt": archive(records | {"a/version": inner}),
        "zip a record in another folder.pt": archive(records | {"b/version": b"3\n"}),
        "zip a record in a folder with capitals.pt": archive(records | {"A/data.pkl": inner}),
        "zip bytes behind the end.pt": good + inner,
        "zip one byte behind the end.pt": good + b"\n",
        "zip a comment.pt": good[:-2] + struct.pack("<H", 7) + b"comment",
        **zips_that_hide(),
        **zips_with_two_directories(),
    }


def record(path: str, data: bytes, *, flags: int = 0, extra: bytes = b"", behind: bytes = b"") -> tuple[bytes, bytes]:
    """A record, and its entry in the directory without the place at its end."""
    called = path.encode()
    numbers = (zlib.crc32(data), len(data), len(data))
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, flags, 0, 0, 0, *numbers, len(called), len(extra))
    entry = struct.pack("<4s6H3L3H", b"PK\1\2", 20, 20, flags, 0, 0, 0, *numbers, len(called), 0, 0)
    return local + called + extra + data + behind, entry + struct.pack("<2HL", 0, 0, 0)


Records = dict[str, tuple[bytes, bytes]]
"""Path -> what `record` gives."""


def by_hand(records: Records, *, gap: bytes = b"", front: bytes = b"", unlisted: str = "", more: bytes = b"") -> bytes:
    """An archive of such records. gap: behind each; front: before the first; more: at the end of the directory."""
    body, directory, count = front, b"", 0
    for path, (data, entry) in records.items():
        if path != unlisted:
            directory, count = directory + entry + struct.pack("<L", len(body)) + path.encode(), count + 1
        body += data + gap
    directory += more
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), len(body), 0)
    return body + directory + end


GOOD_RECORDS = {"a/data.pkl": CONTENT, "a/data/0": bytes(256), "a/version": b"3\n"}


def plain_records() -> Records:
    """Those of a small good file."""
    return {path: record(path, data) for path, data in GOOD_RECORDS.items()}


def zips_that_hide() -> dict[str, bytes]:
    """Bytes that no directory tells of, and records that share theirs."""
    plain = plain_records()
    evil = record("a/data.pkl", b"\x80\x02" + SYSTEM + b".")[0]
    shared = by_hand(plain)
    at, length = shared.index(b"a/data/0") - 30, len(plain["a/data/0"][0])
    behind = struct.pack("<4s3L", b"PK\7\x08", 0, 256, 256)
    version, data = plain["a/version"][1] + bytes(4) + b"a/version", bytes(256)
    extras = {
        "a record in an extra field": b"FB" + struct.pack("<H", len(evil)) + evil,
        "padding of letters": b"FB\x03\0abc",
        "padding of another length": b"FB\x09\0ZZZ",
        "an extra field of zip64": struct.pack("<2H2Q", 1, 16, 2, 2),
        "another name in an extra field": struct.pack("<2HBL", 0x7075, 15, 1, 0) + b"a/data.pkl",
    }
    stored = {
        "bytes for lengths behind the data": record("a/data/0", data, flags=8, behind=b"PK\7\x08" + evil[:12]),
        "lengths behind the data with another checksum": record("a/data/0", data, flags=8, behind=behind),
        "lengths behind the data that no flag tells of": record("a/data/0", data, behind=behind),
    }
    made = {
        "a record that no directory lists": by_hand(plain | {"a/data/1": (evil, b"")}, unlisted="a/data/1"),
        "gaps between the records": by_hand(plain, gap=evil),
        "one byte between the records": by_hand(plain, gap=b"x"),
        "a record in front of the records": by_hand(plain, front=evil),
        **{what: by_hand(plain | {"a/version": record("a/version", b"3\n", extra=e)}) for what, e in extras.items()},
        **{what: by_hand(plain | {"a/data/0": made}) for what, made in stored.items()},
        "data that an extra field moves into the next record": patched(
            shared, b"PK\3\4", 28, struct.pack("<H", length), 1
        ),
        "a flag in front of the data alone": patched(shared, b"PK\3\4", 6, b"\0\x08", 1),
        "a checksum in front of the data alone": patched(shared, b"PK\3\4", 14, b"\1\2\3\4", 1),
        "a comment in the directory": by_hand(plain, more=b"comment"),
        "a directory with an entry too many": by_hand(plain, more=version),
        "no first record": shared[at:],
    }
    return {f"zip {what}.pt": content for what, content in made.items()}


def zips_with_two_directories() -> dict[str, bytes]:
    """A harmless archive for who reads one record at the end, and one that calls for who reads the other."""
    evil = {
        path: record(path, data) for path, data in (GOOD_RECORDS | {"a/data.pkl": b"\x80\x02" + SYSTEM + b"."}).items()
    }
    good = {path: record(path, data) for path, data in GOOD_RECORDS.items()}
    body, places = b"", {}
    for which, records in (("good", good), ("evil", evil)):
        for path, (data, _) in records.items():
            places[which, path] = len(body)
            body += data

    def directory(which: str, records: Records) -> bytes:
        entries = {path: entry for path, (_, entry) in records.items()}
        return b"".join(
            entry + struct.pack("<L", places[which, path]) + path.encode() for path, entry in entries.items()
        )

    one, other = directory("good", good), directory("evil", evil)
    made = {}
    for what, signature, size, disk, disks, moved in (
        ("a wide record with another signature", b"QK\6\6", 44, 0, 1, 0),
        ("a wide record elsewhere", b"PK\6\6", 44, 0, 1, 1),
        ("a wide record of another length", b"PK\6\6", 45, 0, 1, 0),
        ("a wide record on another disk", b"PK\6\6", 44, 1, 1, 0),
        ("a wide record on two disks", b"PK\6\6", 44, 0, 2, 0),
        ("a wide record with another directory", b"PK\6\6", 44, 0, 1, 0),
    ):
        at = len(body) + len(one) + len(other)
        wide = struct.pack("<4sQ2H2L4Q", signature, size, 45, 45, 0, 0, 3, 3, len(one), len(body))
        place = struct.pack("<4sLQL", b"PK\6\7", disk, at + moved, disks)
        short = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 3, 3, len(other), len(body) + len(one), 0)
        made[f"zip {what}.pt"] = body + one + other + wide + place + short
        fits = struct.pack("<4sQ2H2L4Q", signature, size, 45, 45, 0, 0, 3, 3, len(other), len(body) + len(one))
        if not what.endswith("directory"):
            made[f"zip {what}, both of one directory.pt"] = body + one + other + fits + place + short
    return made


# ---------------------------------------------------------------- safetensors that lie


def safetensors() -> dict[str, bytes]:
    good = json.dumps(header()).encode()
    swapped = header(k={"data_offsets": [256, 512]})
    double = good[:-1] + b"," + good[1:]
    facts = b',"__metadata__":{"name":"\\"a\\"","name":"\\"b\\""}}'
    made = {
        "length zero": tensors(b"", length=0),
        "length one": tensors(b"{", length=1),
        "length beyond the file": tensors(header(), length=5000),
        "length of 2 GB": tensors(header(), length=1 << 31),
        "length of 2 to the 63": tensors(header(), length=1 << 63),
        "length of 2 to the 64": tensors(header(), length=(1 << 64) - 1),
        "length too short": tensors(header(), length=20),
        "length too long": tensors(header(), length=len(good) + 8),
        "only a length": struct.pack("<Q", 100),
        "eight bytes": b"{" * 8,
        "header empty": tensors({}, b""),
        "header only metadata": tensors({"__metadata__": {"format": "hypernet"}}, b""),
        "header a list": tensors([1]),
        "header a number": tensors(b"{5"),
        "header not closed": tensors(good[:-1]),
        "header with a comma too many": tensors(good[:-1] + b",}"),
        "header with text behind it": tensors(good + b"x"),
        "header with a byte order mark": tensors(b"\xef\xbb\xbf" + good),
        "header with spaces in front": tensors(b"  " + good),
        "header of invalid UTF-8": tensors(good.replace(b"F32", b"F\xff2")),
        "header in UTF-16": tensors(good.decode().encode("utf-16-le")),
        "header of half a surrogate": tensors(header() | {"__metadata__": {"name": '"\ud800"'}}),
        "header of nested lists": tensors(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        "header of nested tables": tensors(b'{"a":' * 4000 + b"1" + b"}" * 4000),
        "header of empty lists": tensors(b'{"a":[' + b"[]," * 50_000 + b"[]]}"),
        "header of numbers": tensors(b'{"a":[' + b"1," * 60_000 + b"1]}"),
        "header with a number of 100,000 digits": tensors(b'{"a":' + b"9" * 100_000 + b"}"),
        "header with NaN": tensors(good.replace(b"256", b"NaN", 1)),
        "header with infinity": tensors(good.replace(b"256", b"1e999", 1)),
        "metadata a list": tensors(header(__metadata__=["x"])),
        "metadata with a number": tensors(header(__metadata__={"step": 5})),
        "metadata with a table": tensors(header(__metadata__={"name": {"a": "b"}})),
        "metadata nothing": tensors(header(__metadata__=None)),
        "metadata of another version": tensors(header(__metadata__={"format": "hypernet", "format_version": "99"})),
        "metadata with a terminal escape": tensors(header(__metadata__={"name": "\x1b[2J"})),
        "metadata with an escaped terminal escape": tensors(header(__metadata__={"name": '"\\u001b[2J"'})),
        "metadata with a key of terminal escapes": tensors(header(__metadata__={"\x1b[2J": "1"})),
        "metadata of nested lists": tensors(header(__metadata__={"activation_func": '"wobble"', "x": "[" * 20000})),
        "metadata names an unknown activation": tensors(header(__metadata__={"activation_func": "<script>"})),
        "names twice": tensors(double),
        "names twice, one of them escaped": tensors(double.replace(b'"8.k', b'"\\u0038.k', 1)),
        "names with a terminal escape": tensors(good.replace(b"8.k.linear.0", b"8.k.linear.\\u001b[2J")),
        "metadata twice": tensors(good[:-1] + b',"__metadata__":{},"__metadata__":{}}'),
        "metadata of a version with markup": tensors(
            header(__metadata__={"format": "hypernet", "format_version": "<b>"})
        ),
        "names twice in the metadata": tensors(good[:-1] + facts),
        "names twice in an entry": tensors(good.replace(b'"dtype"', b'"shape": [8, 8], "dtype"', 1)),
        "names of another model": tensors({"a.weight": {"dtype": "F32", "shape": [8, 16], "data_offsets": [0, 512]}}),
        "names with markup": tensors(good.replace(b"8.k.linear.0.weight", b"8.k.<script>alert(1)</script>")),
        "names of 100,000 letters": tensors(good.replace(b"linear.0", b"linear." + b"9" * 100_000, 1)),
        "names with a negative width": tensors(good.replace(b"8.k", b"-8.k")),
        "names with a width of ten digits": tensors(good.replace(b"8.", b"8888888888.")),
        "names only of K": tensors({k: v for k, v in header().items() if ".k." in k}, bytes(256)),
        "entry nothing": tensors(header() | {"8.k.linear.0.weight": None}),
        "entry a list": tensors(header() | {"8.k.linear.0.weight": [1]}),
        "entry without a type": tensors(good.replace(b'"dtype"', b'"dtypo"', 1)),
        "entry without offsets": tensors(good.replace(b'"data_offsets"', b'"data_offsetz"', 1)),
        "type unknown": tensors(header(k={"dtype": "Q7"})),
        "type whole numbers": tensors(header(k={"dtype": "I32"})),
        "type of complex numbers": tensors(header(k={"dtype": "C64", "shape": [4, 8]})),
        "type of truth values": tensors(header(k={"dtype": "BOOL"})),
        "type of four bits": tensors(header(k={"dtype": "F4"})),
        "type with markup": tensors(header(k={"dtype": "<script>alert(1)</script>"})),
        "type with a terminal escape": tensors(header(k={"dtype": "\x1b[2J"})),
        "type of eight bits": tensors(header(k={"dtype": "F8_E4M3"})),
        "type a number": tensors(header(k={"dtype": 5})),
        "type a list": tensors(header(k={"dtype": ["F32"]})),
        "type of another length": tensors(header(k={"dtype": "F64"})),
        "shape negative": tensors(header(k={"shape": [-8, -8]})),
        "shape of floats": tensors(header(k={"shape": [8.0, 8.0]})),
        "shape of truth values": tensors(header(k={"shape": [True, 64]})),
        "shape a text": tensors(header(k={"shape": "88"})),
        "shape of 2 to the 62": tensors(header(k={"shape": [1 << 62, 4]})),
        "shape whose product wraps": tensors(header(k={"shape": [1 << 33, 1 << 33, 1 << 33]})),
        "shape of a hundred axes": tensors(header(k={"shape": [1] * 100})),
        "shape without elements": tensors(header(k={"shape": [0, 8]})),
        "shape of one axis": tensors(header(k={"shape": [64]})),
        "shape of no axis": tensors(header(k={"shape": []})),
        "shape of another width": tensors(header(k={"shape": [4, 16]})),
        "offsets negative": tensors(header(k={"data_offsets": [-256, 0]})),
        "offsets reversed": tensors(header(k={"data_offsets": [256, 0]})),
        "offsets beyond the file": tensors(header(k={"data_offsets": [512, 768]})),
        "offsets of 2 to the 63": tensors(header(k={"data_offsets": [1 << 63, (1 << 63) + 256]})),
        "offsets that overlap": tensors(header(k={"data_offsets": [128, 384]})),
        "offsets of another": tensors(swapped),
        "offsets that leave a gap": tensors(
            header() | {"8.v.linear.0.weight": {"dtype": "F32", "shape": [8, 8], "data_offsets": [260, 516]}},
            bytes(516),
        ),
        "offsets of floats": tensors(header(k={"data_offsets": [0.0, 256.0]})),
        "offsets of truth values": tensors(header(k={"data_offsets": [False, 256]})),
        "offsets of three numbers": tensors(header(k={"data_offsets": [0, 256, 512]})),
        "offsets a text": tensors(header(k={"data_offsets": "02"})),
        "data cut short": tensors(header(), bytes(400)),
        "data with more behind it": tensors(header(), bytes(600)),
        "data NaN": tensors(header(), struct.pack("<f", float("nan")) * 128),
        "data infinite": tensors(header(), bytes(508) + struct.pack("<f", float("inf"))),
        "data a zip archive": tensors(header(), zipped(SYSTEM)),
    }
    return {f"safetensors {what}.safetensors": data for what, data in made.items()}


def texts_that_command() -> dict[str, bytes]:
    """A terminal's command in each text that is told to people."""
    made = {}
    for key in (*TEXTS, "another"):
        for what, value in (("escape", "a\x1b[2J"), ("C1", "a\x9b2J"), ("bell", "\a")):
            made[f"text {what} in {key}.pt"] = zipped(network(None, None, (text(key), text(value))))
            made[f"text {what} in {key}.safetensors"] = tensors(header(__metadata__={key: json.dumps(value)}))
    deep = table((text("a"), b"](" + text("\x1b[2J") + b"e"))
    return made | {
        "text escape in a table.pt": zipped(network(None, None, (text("x"), deep))),
        "text escape in a table.safetensors": tensors(header(__metadata__={"x": '{"a": ["\\u001b[2J"]}'})),
        "text escape in a width.pt": zipped(network(width=text("\x1b[2J"))),
        "text escape in a weight.pt": zipped(network(net(called=text("linear.\x1b[2J.weight")))),
        "text escape in an asked name.pt": zipped(network(None, None, (text("x"), name("o\x1b[2Js", "system")))),
        "text escape in a storage.pt": zipped(network(net(tensor(stored=storage("\x1b[2J"))))),
        "text escape in a record.pt": archive({"a/data.pkl": CONTENT, "a/\x1b[2J": b""}),
    }


def tars() -> dict[str, bytes]:
    """The form before PyTorch 0.1.10, which its `weights_only` once read with the full pickle (CVE-2025-32434)."""
    bad = b"\x80\x02" + SYSTEM + b"."
    parts = {"sys_info": pickle.dumps({}, 2), "pickle": CONTENT, "tensors": pickle.dumps(0, 2), "storages": b""}

    def tar(records: dict[str, bytes], *links: str) -> bytes:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as made:
            for path, data in records.items():
                entry = tarfile.TarInfo(path)
                entry.size = len(data)
                made.addfile(entry, io.BytesIO(data))
            for path in links:
                entry = tarfile.TarInfo(path)
                entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
                made.addfile(entry)
        return stream.getvalue()[:6144]

    made = {f"tar call in its {part}.pt": tar(parts | {part: bad}) for part in parts}
    return made | {
        "tar a name that climbs out.pt": tar(parts | {"../../PWNED": b"x"}),
        "tar an absolute name.pt": tar(parts | {"/tmp/PWNED": b"x"}),
        "tar a link.pt": tar(parts, "storages"),
        "tar of a zip.pt": tar({"ink.pt": zipped(SYSTEM)}),
        "tar a zip's first bytes.pt": tar({"PK\3\4": bad}),
    }


def others() -> dict[str, bytes]:
    """Neither zip nor pickle nor safetensors."""
    return {
        "other tar.pt": b"sys_info".ljust(257, b"\0") + b"ustar\0" + bytes(250) + CONTENT,
        "other a web page.pt": b"<!DOCTYPE html><script>alert(1)</script>",
        "other JSON.pt": b'{"error": "<script>alert(1)</script>"}',
        "other one byte.pt": b"\x80",
        "other empty.pt": b"",
        "other zeros.pt": bytes(1000),
        "other noise.pt": bytes((i * 197 + i // 7 * 31) % 256 for i in range(1, 2000)),
        "other newlines.pt": b"\n" * 5000,
        "other a spell.pt": b"__import__('os').system('echo > PWNED')",
        "other numpy.pt": b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,)}" + CONTENT,
    }


def corpus() -> dict[str, bytes]:
    """File name -> content of every file but the `LARGE`."""
    parts: tuple[dict[str, bytes], ...] = (
        dict(calls()),
        ways_to_call(),
        legacy_calls(),
        bombs(),
        tensors_that_lie(),
        zips(),
        safetensors(),
        texts_that_command(),
        tars(),
        others(),
    )
    return {file: data for part in parts for file, data in part.items()}


def _legacy_of_bytes(code: bytes) -> bytes:
    return legacy(network(None, None, (text("name"), code)))


LARGE: dict[str, Callable[[], bytes]] = {
    "large 100 MB of metadata.safetensors": lambda: tensors(header(__metadata__={"name": "x" * 100_000_000})),
    "large 20 MB of names.safetensors": lambda: tensors(b"{" + b'"a":1,' * 3_000_000 + b'"b":1}'),
    "large 20 MB of brackets.safetensors": lambda: tensors(b'{"a":' + b"[" * 10_000_000 + b"]" * 10_000_000 + b"}"),
    "large a header just within the limit.safetensors": lambda: tensors(header(__metadata__={"x": "[" * 1_000_000})),
    "large 100,000 tensors.safetensors": lambda: tensors(
        {f"8.k.linear.{i}.weight": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(100_000)}, b""
    ),
    "large 4,000 tensors.safetensors": lambda: tensors(
        {f"8.k.linear.{i}.weight": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(4_000)}, b""
    ),
    "large a pickle of 20 MB of lists.pt": lambda: zipped(b"(" + b"]" * 20_000_000 + b"t"),
    "large a pickle of 20 MB of tables.pt": lambda: _legacy_of_bytes(b"(" + b"}" * 20_000_000 + b"t"),
    "large a pickle of 1 MB of lists.pt": lambda: zipped(b"(" + b"]" * 1_000_000 + b"t"),
    "large a text of 10 MB.pt": lambda: _legacy_of_bytes(text("x" * 10_000_000)),
    "large a name of 1 MB.pt": lambda: zipped(network(net(called=text("linear." + "x" * 1_000_000)))),
    "large a name of 1 MB.safetensors": lambda: tensors(
        json.dumps(header()).replace("linear.0", "linear." + "9" * 1_000_000, 1).encode()
    ),
    "large a text of 1 MB in the metadata.safetensors": lambda: tensors(header(__metadata__={"name": "x" * 1_000_000})),
    "large 10,000 tensors.safetensors": lambda: tensors(
        {
            f"8.{k}.linear.{i}.weight": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}
            for i in range(5000)
            for k in "kv"
        }
    ),
    "large 10 MB of zeros as a header.safetensors": lambda: tensors(b"{" + bytes(10_000_000)),
    "large a text of wide letters.pt": lambda: zipped(
        network(None, None, (text("name"), text("\U0001f600" * 250_000)))
    ),
    "large a number of 10 MB.pt": lambda: _legacy_of_bytes(
        b"\x8b" + struct.pack("<i", 10_000_000) + b"\x7f" * 10_000_000
    ),
    "large an integer of 10 MB of digits.pt": lambda: _legacy_of_bytes(b"I" + b"9" * 10_000_000 + b"\n"),
    "large 10,000 layers.pt": lambda: zipped(
        network(table(*((text(f"linear.{i}.weight"), tensor()) for i in range(10_000))), net())
    ),
    "large 3,000 layers.pt": lambda: zipped(
        network(table(*((text(f"linear.{i}.weight"), tensor()) for i in range(2_500))), net())
    ),
    "large 60,000 records.pt": lambda: archive({f"a/data/{i}": b"" for i in range(60_000)} | {"a/data.pkl": CONTENT}),
    "large 9,999 records.pt": lambda: archive({f"a/data/{i}": b"" for i in range(9_990)} | {"a/data.pkl": SYSTEM}),
    "large a record of 10 MB for an object.pt": lambda: archive({"a/data.pkl": bytes(10_000_000)}),
    "large 10 MB of ends.pt": lambda: b"PK\3\4" + b"PK\5\6" * 2_500_000,
    "large 10 MB of zeros.pt": lambda: bytes(10_000_000),
    "large 10 MB of spaces.pt": lambda: b" " * 10_000_000,
    "large 10 MB of marks.pt": lambda: b"\x80\x02" + b"(" * 10_000_000,
    "large 10 MB of dots.pt": lambda: b"\x80\x02" + b"." * 10_000_000,
}
"""File name -> what makes its content: files too large to hold in memory together."""

SMALL = 8192
"""Bytes in a file that a fuzzer can start from."""


def small() -> dict[str, bytes]:
    """File name -> content of every file of at most `SMALL` bytes."""
    return {file: data for file, data in corpus().items() if len(data) <= SMALL}


def write(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in files.items():
        (folder / file).write_bytes(data)


if __name__ == "__main__":
    write(Path(sys.argv[1]), corpus() | {file: make() for file, make in LARGE.items()})
