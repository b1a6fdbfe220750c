"""JAX's side of ``navigation.py``: the meta-iteration as one jitted function."""

import sys
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, random
from jax.flatten_util import ravel_pytree
from navigation_names import AGREE
from turns import Measures, seconds_of, serve

jax.config.update("jax_enable_x64", True)  # for the baseline's normal equations alone, as ours

FRACTION, DATA = float(sys.argv[1]), np.load(sys.argv[2])
TASKS, TRAJECTORIES, STEPS = 20, 20, 100
DISCOUNT, RIDGE, PRODUCTS, TRIES = 0.99, 1e-5, 10, 15
RATE, DAMPING, MAX_KL, BACKTRACK = (np.float32(DATA[name]) for name in ("rate", "damping", "max_kl", "backtrack"))
ACTION_SCALE, GOAL_RADIUS, HALF_SIDE = np.float32(0.1), np.float32(0.01), np.float32(0.5)
FIRST, unravel = ravel_pytree([jnp.asarray(DATA[name]) for name in DATA.files if name.startswith("parameter ")])


class Samples(NamedTuple):
    """What a loss sees of all tasks, the task axis first and the samples' second; ``counts`` are of each task's steps."""

    observations: jax.Array
    actions: jax.Array
    advantages: jax.Array
    weights: jax.Array
    old_mean: jax.Array
    old_log_std: jax.Array
    counts: jax.Array


def policy(theta, observations):
    """Return means and the log standard deviation of one policy."""
    log_std, *layers = unravel(theta)
    for weight, bias in zip(layers[:-2:2], layers[1:-2:2], strict=True):
        observations = jax.nn.relu(observations @ weight.T + bias)
    return observations @ layers[-2].T + layers[-1], log_std


policies = jax.vmap(policy)


def log_prob(mean, log_std, actions):
    """Return the Gaussian's log-density."""
    return (-0.5 * ((actions - mean) * jnp.exp(-log_std)) ** 2 - log_std - 0.5 * np.float32(np.log(2 * np.pi))).sum(-1)


def sample(thetas, goals, key):
    """Return observations, actions, rewards, whether each step happened, and means; shape (tasks, trajectories, steps, ...)."""
    noise = random.normal(key, (STEPS, TASKS, TRAJECTORIES, 2), jnp.float32)

    def move(state, noise):
        position, running = state
        mean, log_std = policies(thetas, position)
        action = mean + jnp.exp(log_std)[:, None] * noise
        following = position + ACTION_SCALE * jnp.clip(action, -1, 1)
        offset = following - goals[:, None]
        reward = jnp.where(running, -jnp.sqrt((offset**2).sum(-1)), 0)
        reached = (jnp.abs(offset) < GOAL_RADIUS).all(-1)
        return (following, running & ~reached), (position, action, reward, running, mean)

    start = jnp.zeros((TASKS, TRAJECTORIES, 2), jnp.float32), jnp.ones((TASKS, TRAJECTORIES), bool)
    _, seen = lax.scan(move, start, noise)
    return [jnp.moveaxis(column, 0, 2) for column in seen]


def estimate(thetas, observations, actions, rewards, happened, mean):
    """Return samples with normalised advantages over the linear baseline, fitted to each task."""
    lag = jnp.arange(STEPS)[:, None] - jnp.arange(STEPS)
    returns = rewards @ jnp.where(lag >= 0, DISCOUNT ** jnp.maximum(lag, 0), 0).astype(jnp.float32)
    clipped = jnp.clip(observations, -10, 10)
    time = jnp.broadcast_to((jnp.arange(STEPS, dtype=jnp.float32) / 100)[:, None], (*rewards.shape, 1))
    features = jnp.concatenate([clipped, clipped**2, time, time**2, time**3, jnp.ones_like(time)], -1)
    a = (features * happened[..., None]).reshape(TASKS, TRAJECTORIES * STEPS, -1).astype(jnp.float64)
    b = (returns * happened).reshape(TASKS, -1, 1).astype(jnp.float64)
    gram = a.mT @ a + RIDGE * jnp.eye(a.shape[-1])
    solved = jax.vmap(lambda gram, right: jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(gram), right))(gram, a.mT @ b)
    values = (a @ solved).reshape(rewards.shape).astype(jnp.float32)
    counts = happened.sum((1, 2), dtype=jnp.float32)
    average = lambda x: (jnp.where(happened, x, 0).sum((1, 2)) / counts)[:, None, None]  # noqa: E731
    advantages = returns - values
    centred = jnp.where(happened, advantages - average(advantages), 0)
    advantages = centred / (jnp.sqrt(average(centred**2)) + 1e-8)
    flat = [x.reshape(TASKS, TRAJECTORIES * STEPS, *x.shape[3:]) for x in (observations, actions, advantages, happened, mean)]
    log_std = jax.vmap(lambda theta: unravel(theta)[0])(thetas)
    return Samples(*flat[:3], flat[3] / counts[:, None], flat[4], log_std, counts)


def adapt(theta, support):
    """Return every task's parameters after an inner step of REINFORCE, shape (tasks, P)."""

    def loss(theta, observations, actions, advantages, weights):
        return -(weights * advantages * log_prob(*policy(theta, observations), actions)).sum()

    return theta - RATE * jax.vmap(jax.grad(loss), (None, 0, 0, 0, 0))(theta, *support[:4])


def surrogate_and_kl(theta, support, query):
    """Return the mean surrogate loss of the adapted policies, and their mean KL divergence from those that sampled."""
    mean, log_std = policies(adapt(theta, support), query.observations)
    log_std, old_log_std = log_std[:, None], query.old_log_std[:, None]
    ratios = jnp.exp(log_prob(mean, log_std, query.actions) - log_prob(query.old_mean, old_log_std, query.actions))
    loss = -(query.weights * query.advantages * ratios).sum(1).mean()
    spread = jnp.exp(2 * (old_log_std - log_std)) + ((query.old_mean - mean) * jnp.exp(-log_std)) ** 2
    kl = (0.5 * (spread - 1) + log_std - old_log_std).sum(-1)
    return loss, (kl * of_all(query)).sum()


def of_all(samples):
    """Return weights with which every time-step of the meta-batch counts alike."""
    return samples.weights * (samples.counts / samples.counts.sum())[:, None]


def thin(samples, key, fraction):
    """Return a part of the time-steps, the same ones of every task."""
    size = samples.weights.shape[1]
    kept = jnp.sort(random.permutation(key, size)[: round(fraction * size)])
    observations, actions, advantages, weights, mean = (x[:, kept] for x in samples[:5])
    return Samples(observations, actions, advantages, weights / weights.sum(1, keepdims=True), mean, *samples[5:])


def conjugate_gradient(product, target):
    """Return what the map takes to the target, nearly, and what it takes it to."""

    def improve(_, state):
        x, residual, direction, squared = state
        image = product(direction)
        length = squared / (direction @ image)
        x, residual = x + length * direction, residual - length * image
        after = residual @ residual
        return x, residual, residual + after / squared * direction, after

    x, residual, *_ = lax.fori_loop(0, PRODUCTS, improve, (jnp.zeros_like(target), target, target, target @ target))
    return x, target - residual


def natural_step(theta, gradient, support, query, adapted, key, fraction):
    """Return the step that spends the KL limit, after products by the Fisher information through the adaptation."""
    if fraction < 1:
        keys = random.split(key)
        support, query = thin(support, keys[0], fraction), thin(query, keys[1], fraction)

    def outputs(theta):
        replayed = adapt(theta, support)
        return policies(adapted + replayed - lax.stop_gradient(replayed), query.observations)

    (_, log_std), push = jax.linearize(outputs, theta)
    pull = jax.linear_transpose(push, theta)
    weights = of_all(query)

    def product(vector):
        mean_tangent, log_std_tangent = push(vector)
        mean_part = weights[..., None] * jnp.exp(-2 * log_std)[:, None] * mean_tangent
        return pull((mean_part, 2 * weights.sum(1)[:, None] * log_std_tangent))[0] + DAMPING * vector

    direction, image = conjugate_gradient(product, gradient)
    return direction * jnp.sqrt(2 * MAX_KL / (direction @ image))


def line_search(theta, step, loss, support, query):
    """Return the parameters after the longest step that improves the surrogate within the KL limit, and the tries."""

    def goes_on(state):
        tried, found, _ = state
        return ~found & (tried < TRIES)

    def attempt(state):
        tried, _, _ = state
        candidate = theta - BACKTRACK ** tried.astype(jnp.float32) * step
        new_loss, kl = surrogate_and_kl(candidate, support, query)
        found = (new_loss < loss) & (kl <= MAX_KL)
        return tried + 1, found, jnp.where(found, candidate, theta)

    tried, _, theta = lax.while_loop(goes_on, attempt, (jnp.int32(0), False, theta))
    return theta, tried


def collect(theta, key):
    """Return support and query samples of new tasks, and the adapted parameters."""
    of_goals, of_support, of_query = random.split(key, 3)
    goals = random.uniform(of_goals, (TASKS, 2), jnp.float32, -HALF_SIDE, HALF_SIDE)
    thetas = jnp.broadcast_to(theta, (TASKS, *theta.shape))
    support = estimate(thetas, *sample(thetas, goals, of_support))
    adapted = adapt(theta, support)
    return support, estimate(adapted, *sample(adapted, goals, of_query)), adapted


surrogate = jax.value_and_grad(lambda *arguments: surrogate_and_kl(*arguments)[0])


def iterate(theta, key):
    """Return the meta-parameters after an iteration, and the line search's tries."""
    of_samples, of_steps = random.split(key)
    support, query, adapted = collect(theta, of_samples)
    loss, gradient = surrogate(theta, support, query)
    step = natural_step(theta, gradient, support, query, adapted, of_steps, FRACTION)
    return line_search(theta, step, loss, support, query)


@jax.jit
def step_on(theta, columns):
    """Return samples of what ours wrote, what the step on them needs, and what both sides say of it."""
    thetas, found = jnp.broadcast_to(theta, (TASKS, *theta.shape)), []
    for phase in columns:
        mean = jax.vmap(policies, (None, 1), (1, None))(thetas, phase[0])[0]
        found.append(estimate(thetas, *phase, mean))
        thetas, adapted = adapt(theta, found[0]), thetas
    support, query = found
    loss, gradient = surrogate(theta, support, query)
    step = natural_step(theta, gradient, support, query, adapted, random.key(0), 1)
    after, kl = surrogate_and_kl(theta - np.float32(0.1) * step, support, query)
    norms = jnp.linalg.norm(gradient), jnp.linalg.norm(step)
    return (support, query, adapted, loss, gradient, step), (after, *norms, kl)


def prepare():
    """Take the step that both sides take; compile."""
    names = "observations", "actions", "rewards", "happened"
    columns = [[jnp.asarray(DATA[f"{phase} {name}"]) for name in names] for phase in ("support", "query")]
    (support, query, adapted, loss, gradient, step), said = step_on(FIRST, columns)
    same = dict(zip(AGREE, map(float, said), strict=True))
    key, whole = random.key(1), jax.jit(iterate)
    parts = {
        "sampling": (jax.jit(collect), (FIRST, key)),
        "gradient": (jax.jit(surrogate), (FIRST, support, query)),
        "products": (
            jax.jit(partial(natural_step, fraction=FRACTION)),
            (FIRST, gradient, support, query, adapted, key),
        ),
        "line search": (jax.jit(line_search), (FIRST, step, loss, support, query)),
    }
    for function, arguments in parts.values():
        jax.block_until_ready(function(*arguments))
    theta, _ = jax.block_until_ready(whole(FIRST, key))

    def measure() -> Measures:
        tries = []

        def run() -> None:
            nonlocal theta, key
            key, now = random.split(key)
            theta, tried = jax.block_until_ready(whole(theta, now))
            tries.append(int(tried))

        seconds = {"seconds": seconds_of(run, 3.0)}
        for name, (function, arguments) in parts.items():
            seconds[name] = seconds_of(lambda f=function, a=arguments: jax.block_until_ready(f(*a)))
        return {**seconds, "tries": sum(tries) / len(tries), **same}

    return measure


serve(prepare)
