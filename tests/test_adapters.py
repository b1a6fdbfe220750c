"""Adapters: each by numbers worked out by hand, its meta-gradient against finite differences, and what it leaves alone."""

import copy
import math

import gymnasium as gym
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._pytree import tree_leaves

import metarl
from metarl.adapters import GradientAdapter, NearestNeighbour, Prototypes, ReadingAdapter
from metarl.adapters.base import averages, has_seen_nothing, learned, with_averages
from metarl.adapters.metric.distances import cosine, squared_euclidean
from metarl.agents.reading import ReadingAgent
from metarl.errors import ConfigError
from metarl.learner import Learner
from metarl.normalisation import BatchNorm
from metarl.problems import SupervisedProblem
from metarl.rules import GradientDescent, MetaSGD
from metarl.tasks import Episodes, Examples
from tests.toys import weight
from tests.worlds import RULES, images

CLASSES = torch.arange(3).repeat(2).expand(2, -1)


def drawn():
    """Two episodes of three classes with two support examples each, and as many queries."""
    generator = torch.Generator().manual_seed(1)
    support, query = torch.randn(2, 2, 6, 4, generator=generator, dtype=torch.float64)
    return Episodes(Examples(support, CLASSES), Examples(query + 0.3, CLASSES))


def network(outputs, normalised=True):
    torch.manual_seed(0)
    norm = [BatchNorm(5)] if normalised else []
    return nn.Sequential(nn.Linear(4, 5), *norm, nn.Tanh(), nn.Linear(5, outputs)).double()


def classification():
    return SupervisedProblem(functional.cross_entropy, metric="accuracy", classes=3)


def seen(adapter, meta):
    """Return meta-parameters whose averages, if there are any, have seen a batch."""
    return adapter.track(meta, torch.linspace(-2, 1, 40, dtype=torch.float64).view(10, 4))


def assert_finite_differences(adapter, meta):
    """The gradient of the query loss after a replay is the difference along a direction, for every meta-parameter."""
    episodes, generator = drawn(), torch.Generator().manual_seed(2)
    with torch.no_grad():
        adaptation = adapter.adapt(meta, episodes, generator)
    query = adapter.collect(meta, adaptation.adapted[-1], episodes, generator)

    def loss(values):
        changed = {**meta, **values}
        return adapter.losses(changed, adapter.replay(changed, adaptation.experiences, 2), query).mean()

    values = learned(meta)
    gradients = torch.func.grad(loss)(values)
    assert gradients.keys() == values.keys()
    for name, value in values.items():
        direction = torch.randn(value.shape, generator=generator, dtype=value.dtype)
        ends = [loss({**values, name: value + sign * 1e-6 * direction}).item() for sign in (1, -1)]
        difference = (ends[0] - ends[1]) / 2e-6
        assert (gradients[name] * direction).sum().item() == pytest.approx(difference, rel=1e-5, abs=1e-8), name
    return gradients


# -- the contract


@pytest.mark.parametrize("rule", RULES)
def test_the_gradient_adapter_s_meta_gradient_is_the_difference(rule):
    cls, kwargs = RULES[rule]
    module = network(3, normalised=False)
    learner = Learner(module, ["*.weight"])  # a shared parameter too
    built = cls(learner.layout, **kwargs).double()
    adapter = GradientAdapter(classification(), learner, built, steps=2)
    gradients = assert_finite_differences(adapter, adapter.initial_meta(module, built))
    assert gradients["shared"].abs().sum() > 0


@pytest.mark.parametrize("statistics", ["batch", "support", "running"])
def test_the_gradient_adapter_s_meta_gradient_goes_through_every_kind_of_statistics(statistics):
    module = network(3)
    learner = Learner(module, batch_norm=statistics)
    rule = MetaSGD(learner.layout, 0.1).double()
    adapter = GradientAdapter(classification(), learner, rule, steps=2)
    assert_finite_differences(adapter, seen(adapter, adapter.initial_meta(module, rule)))


@pytest.mark.parametrize("statistics", ["batch", "support", "running"])
@pytest.mark.parametrize("distance", ["squared-euclidean", "cosine"])
@pytest.mark.parametrize("kind", [Prototypes, NearestNeighbour])
def test_a_metric_adapter_s_meta_gradient_is_the_difference(kind, distance, statistics):
    module = network(3)
    adapter = ReadingAdapter(classification(), Learner(module, batch_norm=statistics), kind(distance))
    gradients = assert_finite_differences(adapter, seen(adapter, adapter.initial_meta(module, kind(distance))))
    assert gradients["theta"].abs().sum() > 0


def gradient_adapter(problem, module):
    learner = Learner(module)
    rule = MetaSGD(learner.layout, 0.1).double()
    adapter = GradientAdapter(problem, learner, rule, steps=2)
    return adapter, adapter.initial_meta(module, rule)


def metric_adapter(kind):
    def make(problem, module):
        adapter = ReadingAdapter(problem, Learner(module), kind("squared-euclidean"), 3)
        return adapter, adapter.initial_meta(module, kind())

    return make


@pytest.mark.parametrize("make", [gradient_adapter, metric_adapter(Prototypes), metric_adapter(NearestNeighbour)])
class TestContract:
    def test_a_replay_is_the_adaptation_and_leaves_everything_as_it_is(self, make):
        module = network(3)
        adapter, meta = make(classification(), module)
        before = copy.deepcopy(meta), copy.deepcopy(module.state_dict())
        adaptation = adapter.adapt(meta, drawn(), torch.Generator())
        assert len(adaptation.adapted) == adapter.steps + 1
        assert len(adaptation.losses) == len(adaptation.states) == adapter.steps
        again = adapter.replay(meta, adaptation.experiences, 2)
        for one, other in zip(tree_leaves(adaptation.adapted[-1]), tree_leaves(again), strict=True):
            assert torch.equal(one, other)
            assert len(one) == 2  # the task axis first
        expected = adapter.experiences(drawn(), torch.Generator())
        for one, other in zip(tree_leaves(adaptation.experiences), tree_leaves(expected), strict=True):
            assert torch.equal(one, other)
        assert all(torch.equal(value, before[0][name]) for name, value in meta.items())
        assert all(torch.equal(value, before[1][name]) for name, value in module.state_dict().items())

    def test_one_task_is_applied_as_all_tasks_are(self, make):
        adapter, meta = make(classification(), network(3))
        episodes = drawn()
        adapted = adapter.adapt(meta, episodes, torch.Generator()).adapted[-1]
        together, state = adapter.together(meta, adapted)(episodes.query.inputs)
        assert together.shape == (2, 6, 3)
        assert state == ()
        for task in range(2):
            alone, _ = adapter.apply(meta, adapter.row(adapted, task), episodes.query.inputs[task])
            torch.testing.assert_close(together[task], alone)
            loss = functional.cross_entropy(alone, CLASSES[task])
            torch.testing.assert_close(adapter.losses(meta, adapted, episodes.query)[task], loss)

    def test_the_same_adapter_serves_another_problem(self, make):
        adapter, meta = make(classification(), network(3))
        other = adapter.over(SupervisedProblem(lambda outputs, targets: outputs.sum() * 0 + 7, metric="accuracy"))
        episodes = drawn()
        adapted = other.adapt(meta, episodes, torch.Generator()).adapted[-1]
        assert other.losses(meta, adapted, episodes.query).tolist() == [7, 7]
        adapted = adapter.adapt(meta, episodes, torch.Generator()).adapted[-1]
        assert adapter.losses(meta, adapted, episodes.query)[0] != 7

    def test_a_classifier_of_more_classes_sits_on_its_features(self, make):
        adapter, meta = make(classification(), network(3))
        shapes = adapter.classifier_shapes(7)
        assert [shape[0] for shape in shapes.values()] == [7, 7]
        classifier = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in shapes.items()}
        classifier[next(name for name in shapes if name.endswith("bias"))] += torch.arange(7.0)
        logits, tracked = adapter.classify(meta, classifier, drawn().query.inputs[0])
        assert torch.equal(logits, torch.arange(7.0, dtype=torch.float64).expand(6, -1))
        assert tracked.keys() == meta.keys()


def test_averages_are_named_apart_from_what_is_learned():
    meta = {"theta": torch.zeros(2), "rule.alpha": torch.ones(2)}
    whole = with_averages(meta, {"norm.running_mean": torch.ones(1), "norm.num_batches_tracked": torch.tensor(0)})
    assert list(learned(whole)) == ["theta", "rule.alpha"]
    assert list(averages(whole)) == ["norm.running_mean", "norm.num_batches_tracked"]
    assert has_seen_nothing(whole)
    assert not has_seen_nothing(meta)
    assert not has_seen_nothing({**whole, "running.norm.num_batches_tracked": torch.tensor(1)})


# -- gradient steps


def line(steps=2, rate=0.25, start=0.0, **options):
    """One weight in front of the slopes 1 and 3: the support loss is (w - slope)^2, the query loss 4 (w - slope)^2."""
    env = gym.make("tests/Line-v0", slopes=(1.0, 3.0)).unwrapped
    module = weight(start).double()
    learner = Learner(module)
    rule = GradientDescent(learner.layout, rate).double()
    adapter = GradientAdapter(SupervisedProblem(env.loss), learner, rule, steps, **options)
    return adapter, adapter.initial_meta(module, rule), env.sample_episodes(2, "train", torch.Generator(), dtype=torch.float64)


def test_gradient_steps_by_hand():
    adapter, meta, episodes = line()
    adaptation = adapter.adapt(meta, episodes, torch.Generator())
    # each step goes half of the way that is left
    assert [theta.flatten().tolist() for theta, _ in adaptation.adapted] == [[0, 0], [0.5, 1.5], [0.75, 2.25]]
    assert [loss.tolist() for loss in adaptation.losses] == [[1, 9], [0.25, 2.25]]
    assert adapter.losses(meta, adaptation.adapted[-1], episodes.query).tolist() == [0.25, 2.25]
    assert adapter.measure(meta, adaptation.adapted[0], episodes.query)["loss"].tolist() == [4, 36]
    report = {name: value.item() for name, value in adapter.report(meta, adaptation).items()}
    assert report == {"support_loss_before_step_1": 5.0, "support_loss_before_step_2": 1.25}
    assert adapter.describe(meta) == {"rate_mean": 0.25, "rate_std": 0.0}
    assert [len(adapter.adapt(meta, episodes, torch.Generator(), steps).adapted) for steps in (0, 1, 3)] == [1, 2, 4]


def test_a_clip_bounds_every_entry_of_the_gradient():
    adapter, meta, episodes = line(steps=1, clip=3.0)  # the gradients are -2 and -6
    assert adapter.adapt(meta, episodes, torch.Generator()).adapted[-1][0].flatten().tolist() == [0.5, 0.75]


def test_first_order_takes_the_gradients_as_constants():
    for first_order, through in ((True, 1.0), (False, 0.25)):  # (1 - 2 rate)^2
        adapter, meta, episodes = line(first_order=first_order)
        experiences = adapter.experiences(episodes, torch.Generator())
        gradient = torch.func.grad(lambda m, a=adapter, e=experiences: a.replay(m, e, 2)[0].sum())(meta)["theta"]
        assert gradient.item() == 2 * through


def test_the_path_puts_every_step_back_and_keeps_its_derivative():
    adapter, meta, episodes = line()
    experiences = adapter.experiences(episodes, torch.Generator())
    path = [(torch.full((2, 1), value, dtype=torch.float64), {}) for value in (0.0, 5.0, 7.0)]
    value = adapter.replay(meta, experiences, 2, path)[0]
    assert value.flatten().tolist() == [7, 7]
    gradient = torch.func.grad(lambda m: adapter.replay(m, experiences, 2, path)[0].sum())(meta)["theta"]
    assert gradient.item() == 2 * 0.25


def test_the_adapter_holds_no_values():
    module = network(3)
    adapter, meta = gradient_adapter(classification(), module)
    structures = [structure.state_dict() for structure in adapter.learner._structure.values()]
    held = [value for state in (*structures, adapter.rule.state_dict()) for value in state.values()]
    assert {value.device.type for value in held} == {"meta"}
    meta["rule.alpha"] = torch.full_like(meta["rule.alpha"], 0.7)
    assert adapter.rates(meta).unique().tolist() == [0.7]
    assert adapter.describe(meta)["rate_mean"] == pytest.approx(0.7)


def test_a_rule_that_learns_nothing_can_be_changed():
    adapter, meta, episodes = line(steps=1)
    other = adapter.with_rule(GradientDescent(adapter.learner.layout, 0.5).double())
    theta, _ = other.adapt(meta, episodes, torch.Generator()).adapted[-1]
    assert theta.flatten().tolist() == [1, 3]
    assert adapter.adapt(meta, episodes, torch.Generator()).adapted[-1][0].flatten().tolist() == [0.5, 1.5]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"steps": -1}, "inner_steps=-1 must be a whole number, not negative"),
        ({"steps": 1.5}, r"inner_steps=1\.5 must be a whole number"),
        ({"clip": 0}, "inner_clip=0 must be above zero"),
    ],
)
def test_bad_gradient_options_are_named(options, says):
    with pytest.raises(ConfigError, match=says):
        line(**options)


def test_a_rule_of_another_network_is_refused():
    learner, other = Learner(weight(0.0)), Learner(weight(0.0, 1.0))
    with pytest.raises(ConfigError, match=r"rule=GradientDescent was built for 2 parameters, but the network's .* are 1"):
        GradientAdapter(classification(), learner, GradientDescent(other.layout))


# -- prototypes and nearest neighbours


def plane(kind, distance="squared-euclidean", support=None, targets=(0, 0, 1, 1)):
    """The plane as its own embedding, with four support points of two classes."""
    module = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        module.weight.copy_(torch.eye(2))
    adapter = ReadingAdapter(classification(), Learner(module), kind(distance))
    points = torch.tensor([[[0.0, 0.0], [2.0, 0.0], [1.0, 3.0], [1.0, 5.0]]] if support is None else [support])
    examples = Examples(points, torch.tensor([targets]))
    return adapter, adapter.initial_meta(module, kind(distance)), Episodes(examples, examples)


def logits(adapter, meta, episodes, *queries):
    adapted = adapter.adapt(meta, episodes, torch.Generator()).adapted[-1]
    return adapter.together(meta, adapted)(torch.tensor([queries]))[0][0].tolist()


def test_distances_by_hand():
    ours, theirs = torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 2.0], [3.0, 4.0]])
    assert squared_euclidean(ours, theirs).tolist() == [[-25, -13, 0], [-1, -5, -20]]
    torch.testing.assert_close(cosine(ours, theirs), torch.tensor([[0, 0.8, 1], [0, 0, 0.6]]))


def test_prototypes_are_the_classes_means():
    adapter, meta, episodes = plane(Prototypes)
    (prototypes, moments), *_ = adapter.adapt(meta, episodes, torch.Generator()).adapted
    assert prototypes.tolist() == [[[1, 0], [1, 4]]]
    assert moments == {}
    assert logits(adapter, meta, episodes, (1.0, 1.0), (3.0, 4.0)) == [[-1, -9], [-20, -4]]
    query = Examples(torch.tensor([[[1.0, 1.0]]]), torch.tensor([[0]]))
    loss = adapter.losses(meta, (prototypes, moments), query).item()
    assert loss == pytest.approx(math.log(1 + math.exp(-8)), rel=1e-4)


def test_classes_may_have_other_numbers_of_examples_in_any_order():
    adapter, meta, episodes = plane(Prototypes, targets=(1, 0, 1, 1))
    (prototypes, _), *_ = adapter.adapt(meta, episodes, torch.Generator()).adapted
    torch.testing.assert_close(prototypes, torch.tensor([[[2, 0], [2 / 3, 8 / 3]]]))


def test_prototypes_by_cosine():
    adapter, meta, episodes = plane(Prototypes, "cosine")
    (compared,) = logits(adapter, meta, episodes, (2.0, 0.0))
    assert compared == pytest.approx([1, 1 / 17**0.5])


def test_the_nearest_neighbour_is_the_nearest_of_each_class():
    adapter, meta, episodes = plane(NearestNeighbour)
    assert logits(adapter, meta, episodes, (1.0, 1.0), (3.0, 4.0)) == [[-2, -4], [-17, -5]]
    adapter, meta, episodes = plane(NearestNeighbour, "cosine", [[1.0, 0.0], [0.0, -2.0], [3.0, 4.0], [-1.0, 0.0]])
    (compared,) = logits(adapter, meta, episodes, (0.0, 5.0))
    assert compared == pytest.approx([0, 0.8])


def test_statistics_of_the_support_set_normalise_its_queries():
    module = network(3)
    learner = Learner(module, batch_norm="support")
    adapter = ReadingAdapter(classification(), learner, Prototypes("squared-euclidean"))
    meta, episodes = adapter.initial_meta(module, Prototypes()), drawn()
    adapted = adapter.adapt(meta, episodes, torch.Generator()).adapted[-1]
    together, _ = adapter.together(meta, adapted)(episodes.query.inputs)
    alone, _ = adapter.together(meta, adapted)(episodes.query.inputs[:, :1])
    torch.testing.assert_close(together[:, :1], alone)  # no query sees another

    def embedded(inputs):
        hidden, known = module[0](inputs), module[0](episodes.support.inputs[0])
        hidden = (hidden - known.mean(0)) / (known.var(0, correction=0) + 1e-5).sqrt()
        return module[3](module[2](hidden))

    support, query = (embedded(part.inputs[0]) for part in episodes[:2])
    means = torch.stack([support[CLASSES[0] == k].mean(0) for k in range(3)])
    torch.testing.assert_close(together[0], squared_euclidean(query, means))


@pytest.mark.parametrize("cls", [metarl.ProtoNet, metarl.NearestNeighbour])
def test_values_are_refused_in_one_line(cls):
    says = "compares classes by their support examples, and there are none here: choose a family of few-shot"
    with pytest.raises(ConfigError, match=says) as failure:
        cls("MLP", "metarl/Sine-v0", batch_norm="batch", device="cpu")
    assert "\n" not in str(failure.value)


def readers(kind=ReadingAgent):
    for cls in kind.__subclasses__():
        yield from readers(cls)
        if cls.__module__.startswith("metarl.") and not getattr(cls.make_reader, "__isabstractmethod__", False):
            yield cls


@pytest.mark.parametrize("cls", sorted(readers(), key=lambda cls: cls.__name__))
def test_whoever_reads_support_sets_refuses_policies_and_says_who_and_where_and_what_else(cls):
    with pytest.raises(ConfigError) as failure:
        cls("MlpPolicy", "metarl/Navigation2D-v0", device="cpu")
    assert str(failure.value) == (
        f"env='metarl/Navigation2D-v0' has policies, and {cls.__name__} reads support sets, which policies have not: choose "
        "few-shot episodes, such as metarl/Omniglot-v0 or metarl/Sine-v0, or an agent that takes inner steps, such as MAML"
    )


def test_a_problem_without_classes_is_refused():
    with pytest.raises(ConfigError, match="Prototypes compares classes by their support examples, and there are none here"):
        ReadingAdapter(SupervisedProblem(functional.mse_loss), Learner(network(2)), Prototypes("cosine"))


def test_an_unknown_distance_is_named():
    with pytest.raises(ConfigError, match="distance='cosin' is not known: did you mean 'cosine'"):
        plane(Prototypes, "cosin")


def protonet(**changes):
    options = {"policy_kwargs": {"hidden": (4,)}, "device": "cpu", "seed": 1, **changes}
    return metarl.ProtoNet("MLP", options.pop("env", "tests/Images-v0"), **options)


def test_prototypical_networks_train_with_more_ways_than_they_are_tested_with():
    agent, ways = protonet(env_kwargs={"train_ways": 4}), []
    apply = agent.adapter.apply

    def watch(meta, adapted, inputs, state=()):
        outputs, state = apply(meta, adapted, inputs, state)
        ways.append(outputs.shape[-1])
        return outputs, state

    agent.adapter.apply = watch
    before = agent.meta["theta"].clone()
    agent.learn(1)
    assert not torch.equal(before, agent.meta["theta"])
    assert set(ways) == {4}
    ways.clear()
    evaluation = agent.evaluate(3)
    assert set(ways) == {2}
    assert (evaluation.metric, evaluation.steps, evaluation.values.shape) == ("accuracy", (0,), (3, 1))
    assert "after the support set" in str(evaluation)
    assert agent.num_timesteps == 1
    assert agent.evaluate(2, env_kwargs={"ways": 2, "shots": 1}).values.shape == (2, 1)  # other ways fit an embedding
    with pytest.raises(ConfigError, match="steps=1: Prototypes takes no inner steps"):
        agent.evaluate(2, steps=1)
    with pytest.raises(ConfigError, match="train_ways=4 differs from ways=2, but this agent has an output for each"):
        metarl.MAML("MLP", "tests/Images-v0", env_kwargs={"train_ways": 4})


def test_prototypical_networks_predict_the_class_of_the_nearest_mean():
    agent, env = protonet(batch_norm="support"), images()
    observation, _ = env.reset(seed=0)
    predictor = agent.adapt(observation)
    support, query = (torch.from_numpy(observation[f"{name}_inputs"]) for name in ("support", "query"))
    meta, learner = agent.meta, agent.adapter.learner
    moments = learner.moments(meta["theta"], torch.zeros(0), support)
    embedded, asked = (learner(meta["theta"], torch.zeros(0), part, moments) for part in (support, query))
    targets = torch.from_numpy(observation["support_targets"])
    means = torch.stack([embedded[targets == k].mean(0) for k in range(2)])
    distances = torch.cdist(asked.double(), means.double())
    assert predictor.predict(observation["query_inputs"]).tolist() == distances.argmin(1).tolist()
    assert agent.predict(observation)[0].tolist() == distances.argmin(1).tolist()
