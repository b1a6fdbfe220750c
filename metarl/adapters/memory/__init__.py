"""Memory readers: the support set is read example by example into a memory or a context, one file a kind."""

from metarl.adapters.memory.base import MemoryReader as MemoryReader
from metarl.adapters.memory.lrua import MANNCore as MANNCore
from metarl.adapters.memory.lstm import LSTMCore as LSTMCore
from metarl.adapters.memory.lstm import LSTMReader as LSTMReader
from metarl.adapters.memory.mann import MANNReader as MANNReader
from metarl.adapters.memory.recurrent import RecurrentCore as RecurrentCore
from metarl.adapters.memory.recurrent import RecurrentReader as RecurrentReader
