"""Running the stored text of a Python script as if it were the file the user named. Pure.

The text was stored at submission, and later edits must change nothing; yet the script expects its own path in
`__file__` and `sys.argv[0]`, its neighbours on `sys.path`, and its name in tracebacks. A small file in the run
directory sees to that and runs the stored text as `__main__`.

Two readers of the original path would see an edited file, and get the stored text instead: `inspect` (through
linecache; compilers of kernels need the source), and the child processes of multiprocessing's spawn and forkserver,
which run the main file again.
"""

_SHIM = """\
def _load(namespace, path, directory, source):
    import sys

    shim, namespace["__file__"] = namespace["__file__"], path
    del namespace["_load"]
    with open(source, "rb") as file:
        text = file.read()

    def is_unchanged():
        try:
            with open(path, "rb") as file:
                return file.read() == text
        except OSError:
            return False

    def hide_this_file(kind, error, trace):
        while trace is not None and trace.tb_frame.f_code.co_filename == shim:
            trace = trace.tb_next
        sys.__excepthook__(kind, error.with_traceback(trace), trace)

    class Main(type(sys)):
        @property
        def __file__(self):
            asking = sys._getframe(1).f_globals.get("__name__", "").partition(".")[0]
            return shim if asking in ("multiprocessing", "multiprocess", "joblib", "billiard") else path

    if not is_unchanged():
        import linecache

        linecache.cache[path] = (len(text), None, text.decode("utf-8", "replace").splitlines(True), path)
    if namespace["__name__"] == "__main__":
        sys.argv[0] = path
        if sys.path and sys.path[0] == shim.rpartition("/")[0]:
            sys.path[0] = directory
        sys.excepthook = hide_this_file
        sys.modules["__main__"].__class__ = Main
    return compile(text, path, "exec", dont_inherit=True)


exec(_load(globals(), <path>, <directory>, <source>))
"""


def render_shim(path: str, source: str) -> bytes:
    """The file that runs the text in `source` as the script `path`; both absolute. It needs Python 3.5 or later."""
    values = {"<path>": path, "<directory>": path.rpartition("/")[0] or "/", "<source>": source}
    text = _SHIM
    for name, value in values.items():
        text = text.replace(name, ascii(value))
    return text.encode("ascii")
