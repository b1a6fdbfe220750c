"""What metarl itself has by name: the entries that the registries begin with."""

from typing import Any

from metarl.registry import AgentEntry, Entry, FamilyEntry, OuterEntry

_BASELINE: dict[str, Any] = {
    "is_baseline": True,
    "outer_loops": ("pretraining",),
    "idle": ("first_order",),  # nothing is differentiated twice
}
_NAVIGATION = {"vector_entry_point": "metarl.envs.navigation:Navigation2DVector", "max_episode_steps": 100}

_LOCOMOTION = (
    ("HalfCheetahDirection", "half_cheetah", "a half-cheetah runs forwards or backwards"),
    ("HalfCheetahVelocity", "half_cheetah", "a half-cheetah runs at a speed"),
    ("AntDirection", "ant", "an ant walks forwards or backwards"),
    ("AntVelocity", "ant", "an ant walks at a speed"),
    ("AntGoal", "ant", "an ant walks to a goal"),
    ("HopperParameters", "parameters", "a hopper of unknown masses, damping and friction"),
    ("Walker2DParameters", "parameters", "a walker of unknown masses, damping and friction"),
)

_META_WORLD = (
    ("ML1", "a robot's arm does one thing, with other goals in the test"),
    ("ML10", "a robot's arm learns from ten things to do five others"),
    ("ML25", "a robot's arm learns from 25 things to do five others"),
    ("ML45", "a robot's arm learns from 45 things to do five others"),
)


def agents() -> list[AgentEntry]:
    """Return the agents."""
    return [
        AgentEntry("maml", "gradient descent from a learned start", "metarl.agents:MAML"),
        AgentEntry("meta-sgd", "a learned start, and a rate for every parameter", "metarl.agents:MetaSGD"),
        AgentEntry(
            "meta-lstm",
            "an LSTM gates every parameter's steps",
            "metarl.agents:MetaLSTM",
            idle=("first_order",),  # it always is
        ),
        AgentEntry("meta-lstm-2", "the LSTM with raw gradients, second order", "metarl.agents:MetaLSTM2"),
        AgentEntry("turtle", "a small network writes every update", "metarl.agents:TURTLE"),
        AgentEntry(
            "alpha-maml",
            "MAML that moves its two rates by hypergradients",
            "metarl.agents:AlphaMAML",
            outer_loops=("hypergradient_descent",),
        ),
        AgentEntry(
            "reptile",
            "Adam's steps, from a start that moves to where they lead",
            "metarl.agents:Reptile",
            outer_loops=("reptile",),
            idle=("first_order",),  # nothing is differentiated twice
        ),
        AgentEntry(
            "learned-optimiser",
            "an LSTM trains networks from random weights",
            "metarl.agents:LearnedOptimiser",
            outer_loops=("truncated_backpropagation", "gradient_descent"),
        ),
        AgentEntry(
            "protonet",
            "Prototypical Networks: the nearest mean of a class",
            "metarl.agents:ProtoNet",
        ),
        AgentEntry("matching-net", "Matching Networks: attention over the support set", "metarl.agents:MatchingNet"),
        AgentEntry("siamese-net", "Siamese networks: pairs are verified to be of one class", "metarl.agents:SiameseNet"),
        AgentEntry("relation-net", "Relation Networks: how to compare is learned too", "metarl.agents:RelationNet"),
        AgentEntry("semi-protonet", "prototypes that unlabelled images refine", "metarl.agents:SemiProtoNet"),
        AgentEntry("mann", "an LSTM that writes and reads an external memory", "metarl.agents:MANN"),
        AgentEntry("lstm", "an LSTM that reads examples with their labels", "metarl.agents:LSTM"),
        AgentEntry("snail", "SNAIL: causal convolutions and attention over the support set", "metarl.agents:SNAIL"),
        AgentEntry(
            "neural-process", "a conditional neural process: values with their deviations", "metarl.agents:NeuralProcess"
        ),
        AgentEntry("rl2", "RL^2: a recurrent policy that learns within a trial", "metarl.agents:RL2"),
        AgentEntry("snail-policy", "SNAIL: attention over all that a trial showed", "metarl.agents:SNAILPolicy"),
        AgentEntry(
            "pretrained-policy",
            "reference player: one policy of all tasks, by Stable-Baselines3's PPO",
            "metarl.agents:Pretrained",
            outer_loops=("sb3_ppo",),
            idle=("first_order", "meta_batch"),  # nothing is differentiated twice, and tasks come episode by episode
        ),
        AgentEntry(
            "scratch-policy",
            "reference player: a new random policy",
            "metarl.agents:Scratch",
            outer_loops=(),
            idle=("first_order", "meta_batch"),
        ),
        AgentEntry(
            "oracle",
            "reference player: is told the task; by Stable-Baselines3's PPO",
            "metarl.agents:Oracle",
            is_baseline=True,
            outer_loops=("sb3_ppo",),
            idle=("first_order", "meta_batch"),
        ),
        AgentEntry("lwa", "a user's engagements set a linear classifier's weights", "metarl.agents:LWA"),
        AgentEntry("nlba", "a user's engagements set a network's biases", "metarl.agents:NLBA"),
        AgentEntry(
            "scratch",
            "baseline: a new network for every task",
            "metarl.agents:TrainFromScratch",
            is_baseline=True,
            outer_loops=(),
            idle=("first_order", "meta_batch"),
        ),
        AgentEntry("finetuning", "baseline: pretrained; a new last layer", "metarl.agents:Finetuning", **_BASELINE),
        AgentEntry("baseline++", "baseline: fine-tuning by cosines", "metarl.agents:BaselinePlusPlus", **_BASELINE),
        AgentEntry(
            "nearest-neighbour", "baseline: pretrained; the nearest image", "metarl.agents:NearestNeighbour", **_BASELINE
        ),
        AgentEntry("baseline-finetune", "baseline: pretrained; all is trained", "metarl.agents:BaselineFinetune", **_BASELINE),
    ]


def adapters() -> list[Entry]:
    """Return the adapters."""
    return [
        Entry("gradient", "inner steps of an update rule", "metarl.adapters:GradientAdapter"),
        Entry("prototypes", "squared distances to the classes' mean features", "metarl.adapters:Prototypes"),
        Entry("soft-k-means", "prototypes that unlabelled examples refine", "metarl.adapters:SoftKMeans"),
        Entry("distractor-cluster", "the same, with a cluster of what is of no class", "metarl.adapters:DistractorCluster"),
        Entry("masked-soft-k-means", "the same, with learned masks", "metarl.adapters:MaskedSoftKMeans"),
        Entry("lwa", "a linear classifier of class means' weights", "metarl.adapters:LinearWeightAdaptation"),
        Entry("nlba", "a network with biases of class means", "metarl.adapters:NonlinearBiasAdaptation"),
        Entry("nearest-neighbour", "cosines with every support example's features", "metarl.adapters:NearestNeighbour"),
        Entry("matching", "attention over the support examples", "metarl.adapters:Matching"),
        Entry("siamese", "verified pairs of a query and a support example", "metarl.adapters:Siamese"),
        Entry("relation", "a learned score of feature maps side by side", "metarl.adapters:Relation"),
        Entry("mann", "a memory, written by least recent use and read by content", "metarl.adapters:MANNReader"),
        Entry("lstm", "an LSTM's hidden and cell states", "metarl.adapters:LSTMReader"),
        Entry("snail", "causal convolutions and attention over the support set", "metarl.adapters.memory:SNAIL"),
        Entry(
            "neural-process", "a distribution of values from the encoded support set", "metarl.adapters.memory:NeuralProcess"
        ),
    ]


def outer_loops() -> list[OuterEntry]:
    """Return the outer loops."""
    return [
        OuterEntry("trpo", "a natural-gradient step within a KL limit", "metarl.outer:TRPO", ("policies",), "trpo"),
        OuterEntry("ppo", "several epochs of a clipped surrogate", "metarl.outer:PPO", ("policies",), "ppo"),
        OuterEntry("promp", "PPO with penalties on the inner steps' policies", "metarl.outer:ProMP", ("policies",), "promp"),
        OuterEntry("policy_gradient", "REINFORCE with a baseline", "metarl.outer:GradientDescent", ("policies",), "gradient"),
        OuterEntry(
            "sb3_ppo",
            "Stable-Baselines3's PPO on tasks as they come, without adaptation",
            "metarl.agents.stable_baselines:StableBaselinesPPO",
            ("policies",),
            "sb3",
        ),
        OuterEntry(
            "gradient_descent", "any optimiser of torch.optim", "metarl.outer:GradientDescent", ("predictors",), "gradient"
        ),
        OuterEntry(
            "hypergradient_descent",
            "gradient descent that moves both learning rates",
            "metarl.outer:HypergradientDescent",
            prefix="alpha",
        ),
        OuterEntry(
            "pretraining", "one classifier of all training classes", "metarl.outer:Pretraining", ("predictors",), "pretraining"
        ),
        OuterEntry("reptile", "towards where the tasks' inner steps lead", "metarl.outer:Reptile"),
        OuterEntry(
            "truncated_backpropagation",
            "a rule's losses along long trainings, in segments",
            "metarl.outer:TruncatedBackpropagation",
            ("predictors",),
            "truncated",
        ),
    ]


def rules() -> list[Entry]:
    """Return the update rules."""
    return [
        Entry("gradient-descent", "plain steps; rates fixed or learned", "metarl.rules:GradientDescent"),
        Entry("meta-sgd", "a learned rate for every parameter", "metarl.rules:MetaSGD"),
        Entry("lstm", "an LSTM gates every parameter's steps", "metarl.rules:MetaLSTM"),
        Entry("turtle", "a small network writes every parameter's update", "metarl.rules:TURTLE"),
        Entry("learned-optimiser", "an LSTM makes updates of each coordinate's gradients", "metarl.rules:LearnedOptimiser"),
        Entry("adam", "Adam's steps, nothing learned", "metarl.rules:Adam"),
    ]


def families() -> list[FamilyEntry]:
    """Return the task families and few-shot episodes."""
    return [
        FamilyEntry(
            "metarl/Navigation2D-v0", "policies: a point walks to a goal", "metarl.envs.navigation:Navigation2D", _NAVIGATION
        ),
        FamilyEntry(
            "metarl/Navigation2DVaryingStart-v0",
            "policies: the same, a start for each task",
            "metarl.envs.navigation:Navigation2D",
            {**_NAVIGATION, "kwargs": {"varying_start": True}},
        ),
        FamilyEntry(
            "metarl/BernoulliBandit-v0",
            "policies: arms that pay one or nothing",
            "metarl.envs.bandit:BernoulliBandit",
            {"vector_entry_point": "metarl.envs.bandit:BernoulliBanditVector", "max_episode_steps": 20},
        ),
        FamilyEntry(
            "metarl/TabularMDP-v0",
            "policies: random rewards and transitions of a few states",
            "metarl.envs.tabular_mdp:TabularMDP",
            {"vector_entry_point": "metarl.envs.tabular_mdp:TabularMDPVector", "max_episode_steps": 10},
        ),
        *(
            FamilyEntry(
                f"metarl/{name}-v0",
                f"policies: {line}",
                f"metarl.envs.locomotion.{module}:{name}",
                {"vector_entry_point": f"metarl.envs.locomotion.{module}:{name}Vector", "max_episode_steps": 200},
            )
            for name, module, line in _LOCOMOTION
        ),
        *(
            FamilyEntry(
                f"metarl/{name}-v0",
                f"policies: {line}",
                f"metarl.envs.metaworld:{name}",
                {"max_episode_steps": 500},
            )
            for name, line in _META_WORLD
        ),
        FamilyEntry("metarl/Sine-v0", "episodes: sine waves from a few points", "metarl.supervised.sine:Sine"),
        FamilyEntry(
            "metarl/Quadratics-v0", "episodes: random quadratics to minimise", "metarl.supervised.quadratics:Quadratics"
        ),
        FamilyEntry(
            "metarl/Recommendation-v0",
            "episodes: synthetic users who engage with items or not",
            "metarl.supervised.recommendation:Recommendation",
        ),
        FamilyEntry("metarl/Omniglot-v0", "episodes: handwritten characters", "metarl.supervised.omniglot:Omniglot"),
        FamilyEntry("metarl/MiniImageNet-v0", "episodes: small photographs", "metarl.supervised.miniimagenet:MiniImageNet"),
        FamilyEntry("metarl/CUB-v0", "episodes: birds", "metarl.supervised.cub:CUB"),
        FamilyEntry("metarl/ImageFolder-v0", "episodes: your own images", "metarl.supervised.image_folder:ImageFolder"),
    ]


def networks() -> list[Entry]:
    """Return the networks."""
    return [
        Entry("MlpPolicy", "a perceptron that gives an action distribution", "metarl.networks:mlp"),
        Entry("MLP", "a perceptron: of sine waves 1-40-40-1", "metarl.supervised.networks:regressor"),
        Entry("Linear", "a linear map without bias: of quadratics", "metarl.supervised.networks:linear"),
        Entry("Conv4", "the few-shot papers' four convolutions", "metarl.supervised.networks:conv4"),
        Entry("Koch", "Koch's Siamese network, of images of 105x105", "metarl.supervised.networks:koch"),
        Entry("ResNet12", "four residual blocks of three convolutions", "metarl.supervised.networks:resnet12"),
    ]
