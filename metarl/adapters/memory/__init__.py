"""Memory readers: the support set is read example by example into a memory or a context, one file a kind."""

from metarl.adapters.memory.base import MemoryReader as MemoryReader
from metarl.adapters.memory.causal import AttentionBlock as AttentionBlock
from metarl.adapters.memory.causal import CausalBlock as CausalBlock
from metarl.adapters.memory.causal import DenseBlock as DenseBlock
from metarl.adapters.memory.causal import TCBlock as TCBlock
from metarl.adapters.memory.gru import GRUCore as GRUCore
from metarl.adapters.memory.lrua import MANNCore as MANNCore
from metarl.adapters.memory.lstm import LSTMCore as LSTMCore
from metarl.adapters.memory.lstm import LSTMReader as LSTMReader
from metarl.adapters.memory.mann import MANNReader as MANNReader
from metarl.adapters.memory.neural_process import NeuralProcess as NeuralProcess
from metarl.adapters.memory.policy import MemoryPolicy as MemoryPolicy
from metarl.adapters.memory.policy import RecurrentPolicy as RecurrentPolicy
from metarl.adapters.memory.recurrent import RecurrentCore as RecurrentCore
from metarl.adapters.memory.recurrent import RecurrentReader as RecurrentReader
from metarl.adapters.memory.snail import SNAIL as SNAIL
from metarl.adapters.memory.snail_policy import SNAILPolicy as SNAILPolicy
from metarl.adapters.memory.trial import TrialAdapter as TrialAdapter
