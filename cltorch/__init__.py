"""cltorch: PyTorch's experience on any device that speaks OpenCL.

    import cltorch as torch

Tensors are created on the best device there is (`torch.get_default_device()`); operations are recorded and run, fused,
when a value is needed. Importing touches no driver.
"""

from . import (
    accelerator,
    autograd,
    backends,
    cuda,
    dtypes,
    engine,
    functions,
    linalg,
    masked,
    nn,
    optim,
    placement,
    profiler,
    signal,
    special,
    utils,
)
from .autograd import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from .device import device, get_default_device, set_default_device
from .dispatch import set_default_dtype
from .dtypes import DType as dtype
from .dtypes import (
    bfloat16,
    finfo,
    float16,
    float32,
    float64,
    get_default_dtype,
    iinfo,
    int8,
    int16,
    int32,
    int64,
    uint8,
)
from .dtypes import bool_ as bool
from .dtypes import float16 as half
from .dtypes import float32 as float
from .dtypes import float64 as double
from .dtypes import int16 as short
from .dtypes import int32 as int
from .dtypes import int64 as long
from .errors import OutOfMemoryError
from .formats import channels_last, channels_last_3d, contiguous_format, memory_format, preserve_format
from .functions import *
from .functions.linear import _int_mm
from .linalg.older import (
    cholesky,
    cholesky_inverse,
    cholesky_solve,
    det,
    geqrf,
    inverse,
    logdet,
    lu,
    lu_solve,
    lu_unpack,
    matrix_exp,
    norm,
    orgqr,
    ormqr,
    pca_lowrank,
    pinverse,
    qr,
    slogdet,
    svd,
    svd_lowrank,
    triangular_solve,
)
from .nn.functional.recurrent import gru, gru_cell, lstm, lstm_cell, rnn_relu, rnn_relu_cell, rnn_tanh, rnn_tanh_cell
from .serialization import load, load_safetensors, save, save_safetensors
from .tensor import Size, Tensor
from .version import __version__

inf = __import__("math").inf
nan = __import__("math").nan
pi = __import__("math").pi
e = __import__("math").e
newaxis = None
strided = "strided"
