"""What frameworks say when CUDA runs out of memory, what is not that, and what may follow it."""

import time

import pytest

from gflow.launch.oom_signs import TAIL_BYTES, TAIL_LINES, gpu_memory_ran_out

TORCH = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 23.65 GiB"
)

SIGNS = {
    "PyTorch": TORCH,
    "PyTorch 2.0": "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB (GPU 0;",
    "PyTorch 1": "RuntimeError: CUDA out of memory. Tried to allocate 512.00 MiB (GPU 0; 10.76 GiB total capacity",
    "PyTorch without a word on CUDA": "torch.OutOfMemoryError: Allocation on device 0 would exceed allowed memory.",
    "PyTorch of long ago": "RuntimeError: cuda runtime error (2) : out of memory at /pytorch/THCStorage.cu:58",
    "libtorch": "terminate called after throwing an instance of 'c10::OutOfMemoryError'",
    "the runtime by way of PyTorch": "RuntimeError: CUDA error: out of memory",
    "the driver by way of PyTorch": "RuntimeError: CUDA driver error: out of memory",
    "the runtime's name for it": "error: cudaErrorMemoryAllocation at kernel.cu:17",
    "RMM": "std::bad_alloc: out_of_memory: CUDA error at: device.hpp:69: cudaErrorMemoryAllocation out of memory",
    "Numba": "numba.cuda.cudadrv.driver.CudaAPIError: [2] Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY",
    "the driver": "cuMemAlloc_v2 failed with CUDA_ERROR_OUT_OF_MEMORY: out of memory",
    "llama.cpp": "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 4096.00 MiB: cudaMalloc failed: out of memory",
    "ONNX Runtime": "CUDA failure 2: out of memory ; GPU=0 ; hostname=box ; expr=cudaMalloc((void**)&p, size);",
    "JAX": "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 17 GiB",
    "JAX, briefly": "XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory allocating 68719476736 bytes.",
    "TensorFlow": (
        "OOM when allocating tensor with shape[4096,4096] and type float on"
        " /job:localhost/replica:0/task:0/device:GPU:0 by allocator GPU_0_bfc"
    ),
    "CuPy": "cupy.cuda.memory.OutOfMemoryError: Out of memory allocating 8,000,000,000 bytes (allocated so far: 512 b",
    "with a rank in front": f"[rank3]: {TORCH}",
    "in colours": "\x1b[1;91mOutOfMemoryError: \x1b[0mCUDA out of memory. Tried to allocate \x1b[1m20.00\x1b[0m.",
}

NEAR_MISSES = {
    "nothing": "",
    "success": "done",
    "host memory, in Python": "MemoryError",
    "host memory, in NumPy": "numpy.core._exceptions._ArrayMemoryError: Unable to allocate 7.45 GiB for an array",
    "host memory, in C++": "terminate called after throwing an instance of 'std::bad_alloc'",
    "host memory, in PyTorch": "RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory",
    "the kernel's OOM killer": "Out of memory: Killed process 4242 (python) total-vm:81788928kB, anon-rss:65011712kB",
    "the same, of a program called cuda": "Out of memory: Killed process 4242 (cuda) total-vm:81788928kB",
    "the shell's word on it": "line 3: 4242 Killed                  python train.py",
    "Java": "java.lang.OutOfMemoryError: Java heap space",
    "TensorFlow on the host": (
        "OOM when allocating tensor with shape[9] and type float on /job:localhost/device:CPU:0 by allocator cpu"
    ),
    "another RESOURCE_EXHAUSTED": "grpc: RESOURCE_EXHAUSTED: Quota exceeded for requests",
    "another CUDA error": "RuntimeError: CUDA error: device-side assert triggered",
    "no GPU": "RuntimeError: No CUDA GPUs are available",
    "an old driver": "RuntimeError: CUDA driver version is insufficient for CUDA runtime version",
    "a device that is out of range": "RuntimeError: CUDA error: invalid device ordinal; out of memory banks: 0",
}


def tail(*lines: str) -> bytes:
    """A log as a terminal has it."""
    return "".join(f"{line}\r\n" for line in lines).encode()


def traceback(last: str, source: str = "loss.backward()") -> list[str]:
    return ["Traceback (most recent call last):", '  File "/w/train.py", line 7, in <module>', f"    {source}", last]


@pytest.mark.parametrize("line", SIGNS.values(), ids=SIGNS.keys())
def test_signs(line):
    assert gpu_memory_ran_out(tail("epoch 1", *traceback(line)))
    assert gpu_memory_ran_out(tail("epoch 1", line))


@pytest.mark.parametrize("line", NEAR_MISSES.values(), ids=NEAR_MISSES.keys())
def test_near_misses(line):
    assert not gpu_memory_ran_out(tail("epoch 1", *traceback(line)))
    assert not gpu_memory_ran_out(tail("epoch 1", line))


CHAINED = "During handling of the above exception, another exception occurred:"
CAUSE = "The above exception was the direct cause of the following exception:"

FOLLOWED_BY = {
    "nothing": [],
    "advice": ["See documentation for Memory Management (https://pytorch.org/docs/stable/notes/cuda.html)"],
    "what a logger uploads": ["wandb: Run history:", "wandb:  loss ▁▂", "wandb: Synced 5 W&B file(s)"],
    "an error made of it": ["", CAUSE, "", *traceback("RuntimeError: training failed")],
    "an error in its handler": [
        "",
        CHAINED,
        "",
        *traceback("AttributeError: 'NoneType' object has no attribute 'close'"),
    ],
    "the launcher's report": [
        "E1127 12:00:00.000000 9 torch/distributed/elastic/multiprocessing/api.py:833] failed (exitcode: 1)",
        *traceback("torch.distributed.elastic.multiprocessing.errors.ChildFailedError: "),
        "=" * 60,
        "train.py FAILED",
        "  exitcode  : 1 (pid: 9)",
    ],
    "a rank that misses the other": [
        f"[rank1]: {line}" for line in traceback("torch.distributed.DistBackendError: NCCL")
    ],
    "a caller that only runs it": traceback("subprocess.CalledProcessError: Command 'python' returned status 1."),
    "the end of a script": ["training failed", "cleaning up"],
}

OTHERWISE = {
    "an error of its own": traceback("ValueError: not enough values to unpack"),
    "an error of its own, much later": ["batch size is now 8", *["epoch"] * 50, *traceback("KeyError: 'loss'")],
    "an error of its own, drawn in a box": [
        "╭─────── Traceback (most recent call last) ───────╮",
        "│ /w/train.py:7 in main                           │",
        "╰─────────────────────────────────────────────────╯",
        "ValueError: not enough values to unpack",
    ],
    "two of them, one chained": [*traceback("KeyError: 'a'"), "", CHAINED, "", *traceback("KeyError: 'b'")],
    "host memory": traceback("MemoryError"),
}


@pytest.mark.parametrize("rest", FOLLOWED_BY.values(), ids=FOLLOWED_BY.keys())
def test_what_may_follow(rest):
    assert gpu_memory_ran_out(tail(*traceback(TORCH), *rest))


@pytest.mark.parametrize("rest", OTHERWISE.values(), ids=OTHERWISE.keys())
def test_a_job_that_went_on_and_failed_otherwise(rest):
    assert not gpu_memory_ran_out(tail(*traceback(TORCH), *rest))
    assert not gpu_memory_ran_out(tail("WARNING: CUDA out of memory, trying a batch size of 8", *rest))


def test_the_last_word_counts():
    assert gpu_memory_ran_out(tail(*traceback(TORCH), *traceback("ValueError: no"), *traceback(TORCH)))


def test_source_code_is_no_sign():
    quoted = traceback("AttributeError: no attribute 'OutOfMemoryError'", "except torch.cuda.OutOfMemoryError: # why")
    assert not gpu_memory_ran_out(tail(*quoted))
    assert gpu_memory_ran_out(tail("  (0) " + SIGNS["TensorFlow"])), "an indented line is not source code yet"


def test_only_the_end_is_looked_at():
    assert gpu_memory_ran_out(tail(TORCH, *["x"] * (TAIL_LINES - 1)))
    assert not gpu_memory_ran_out(tail(TORCH, *["x"] * TAIL_LINES))
    assert not gpu_memory_ran_out(tail(TORCH, "x" * TAIL_BYTES))
    assert gpu_memory_ran_out(tail("x" * TAIL_BYTES, TORCH))


def test_each_redrawing_of_a_progress_bar_is_a_line():
    bar = "\r".join(f"{percent}%" for percent in range(TAIL_LINES))
    assert not gpu_memory_ran_out(tail(TORCH, bar))


def test_any_bytes_are_a_log():
    assert not gpu_memory_ran_out(b"\xff\xfe\x00" * 1000)
    assert gpu_memory_ran_out(b"\xff" + tail(TORCH)[3:] + b"\xc3")


@pytest.mark.parametrize(
    "words", ["OOM when allocating tensor ", "cuda error ", "cudaMalloc", "\x1b]", "\x1b[0", ' File "', "\n "]
)
def test_no_log_takes_long_to_look_through(words):
    began = time.thread_time()
    assert not gpu_memory_ran_out((words * TAIL_BYTES).encode()[:TAIL_BYTES])
    assert time.thread_time() - began < 0.2
