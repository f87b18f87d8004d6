import keras
import numpy as np
import pytest

from redense import RedenseError, TrainingError
from redense.integrations.keras import DSDCallback
from redense.integrations.keras_weights import prunable

pytestmark = pytest.mark.filterwarnings("ignore")  # the framework's own

X = np.random.default_rng(0).normal(size=(24, 6)).astype(np.float32)


class Watch(keras.callbacks.Callback):
    """Zeros of the kernel after every batch, and the learning rate of every epoch's first batch."""

    def __init__(self):
        super().__init__()
        self.zeros, self.rates = {}, []

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 0:
            self.rates.append(float(self.model.optimizer.learning_rate))

    def on_train_batch_end(self, batch, logs=None):
        kernel = keras.ops.convert_to_numpy(self.model.layers[0].kernel)
        self.zeros.setdefault(self.epoch, set()).add(int((kernel == 0).sum()))


def compiled(optimizer="adam", **options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, **options)])
    model.compile(optimizer, "mse")
    return model


def fit(model, *callbacks, **settings):
    watch = Watch()
    dsd = DSDCallback(sparsity=0.5, **{"epochs": (2, 2, 1), **settings})
    model.fit(X, X[:, :4], batch_size=8, epochs=5, shuffle=False, verbose=0, callbacks=[*callbacks, dsd, watch])
    return watch


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop", "adagrad", "adamax"])
def test_phases_rates_and_a_fresh_optimizer(optimizer):
    model = compiled(optimizer)
    rate = float(model.optimizer.learning_rate)
    watch = fit(model)
    assert watch.zeros == {0: {0}, 1: {0}, 2: {12}, 3: {12}, 4: {0}}
    assert watch.rates == pytest.approx([rate] * 4 + [rate / 10])
    assert int(model.optimizer.iterations) == 3, "it counts from the last boundary"
    assert model.layers[0].kernel.constraint is None


@pytest.mark.parametrize("first", [True, False])
def test_averages_that_are_swapped_in_between_epochs(first):
    """In either order weights train as they do without averages, and the averages are no zeros."""

    class Averages(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(int((keras.ops.convert_to_numpy(self.model.layers[0].kernel) == 0).sum()))

    seen, trained = [], []
    for swapped in (False, True):
        model = compiled(keras.optimizers.Adam(0.01, use_ema=swapped, ema_momentum=0.5))
        keeps = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda *_, model=model, **__: trained.append(
                keras.ops.convert_to_numpy(model.layers[0].kernel)
            )
        )
        dsd, swap = DSDCallback(sparsity=0.5, epochs=(2, 2, 1)), keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
        callbacks = [dsd, *[swap] * swapped] if first else [*[swap] * swapped, dsd]
        model.fit(
            X, X[:, :4], batch_size=8, epochs=5, shuffle=False, verbose=0, callbacks=[*callbacks, keeps, Averages()]
        )
    assert seen[5:] == [0] * 5, "Keras averages before it masks"
    np.testing.assert_array_equal(trained[:15], trained[15:])


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_the_factor_multiplies_what_a_scheduler_sets_unseen(absolute, first):
    seen = []

    def schedule(epoch, rate):
        seen.append(rate)
        return 0.5**epoch if absolute else rate / 2

    model = compiled(keras.optimizers.SGD(2.0))
    scheduler, watch = keras.callbacks.LearningRateScheduler(schedule), Watch()
    dsd = DSDCallback(sparsity=0.5, epochs=(2, 1, 2))
    callbacks = [scheduler, dsd] if first else [dsd, scheduler]
    model.fit(X, X[:, :4], batch_size=8, epochs=5, verbose=0, callbacks=[*callbacks, watch])
    assert seen == [2.0, 1.0, 0.5, 0.25, 0.125]
    assert watch.rates == pytest.approx([1.0, 0.5, 0.25, 0.0125, 0.00625])


def test_the_variables_own_constraint_holds_too():
    model = compiled(kernel_constraint=keras.constraints.NonNeg())
    own = model.layers[0].kernel.constraint
    watch = fit(model)
    assert min(watch.zeros[3]) >= 12
    assert keras.ops.convert_to_numpy(model.layers[0].kernel).min() >= 0
    assert model.layers[0].kernel.constraint is own


class Stop(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise InterruptedError


class StopsInBatch(Stop):
    def on_epoch_begin(self, epoch, logs=None):
        self.reached = epoch == self.epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.reached and batch == 1:
            raise InterruptedError


@pytest.mark.parametrize("stop", [1, 2, 3, 4])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("every", ["epoch", 3])
def test_resumption_through_kerass_own_backup(stop, first, every, tmp_path):
    """In either order the factor is in no backup; Keras' backups by batches repeat some, and so change bits."""

    def trained(*others):
        model, dsd = compiled(), DSDCallback(sparsity=0.5, epochs=(2, 1, 2))
        backup = keras.callbacks.BackupAndRestore(str(tmp_path), save_freq=every)
        callbacks = [backup, dsd] if first else [dsd, backup]
        model.fit(X, X[:, :4], batch_size=8, epochs=5, shuffle=False, verbose=0, callbacks=[*callbacks, *others])
        return model

    whole = compiled()
    fit(whole, epochs=(2, 1, 2))
    with pytest.raises(InterruptedError):
        trained(Stop(stop))
    resumed = trained()
    assert float(resumed.optimizer.learning_rate) == float(whole.optimizer.learning_rate)
    for one, other in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        if every == "epoch":
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("epoch", [2, 4])
@pytest.mark.parametrize("again", ["the same", "another"])
def test_a_training_after_one_that_an_exception_ended(epoch, again):
    """In the sparse phase or after it, within a batch: nothing of it holds weights or multiplies rates any more."""
    model = compiled(kernel_constraint=keras.constraints.MaxNorm(100.0))
    own, rate = model.layers[0].kernel.constraint, float(model.optimizer.learning_rate)
    first = DSDCallback(sparsity=0.5, epochs=(2, 2, 1))
    with pytest.raises(InterruptedError):
        model.fit(X, X[:, :4], batch_size=8, epochs=5, verbose=0, callbacks=[first, StopsInBatch(epoch)])
    dsd, watch = first if again == "the same" else DSDCallback(sparsity=0.5, epochs=(2, 2, 1)), Watch()
    model.fit(X, X[:, :4], batch_size=8, epochs=5, verbose=0, callbacks=[dsd, watch])
    assert watch.zeros == {0: {0}, 1: {0}, 2: {12}, 3: {12}, 4: {0}}
    assert watch.rates == pytest.approx([rate] * 4 + [rate / 10])
    assert model.layers[0].kernel.constraint is own


def test_layers_of_one_name_are_pruned_each():
    def encoder():
        inputs = keras.Input((6,))
        return keras.Model(inputs, keras.layers.Dense(4, name="fc")(inputs))

    keras.utils.set_random_seed(0)
    inputs, one, other = keras.Input((6,)), encoder(), encoder()
    model = keras.Model(inputs, keras.layers.Add()([one(inputs), other(inputs)]))
    model.compile("sgd", "mse")
    zeros = []
    seen = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda *_, **__: zeros.append(
            [int((keras.ops.convert_to_numpy(part.layers[-1].kernel) == 0).sum()) for part in (one, other)]
        )
    )
    model.fit(X, X[:, :4], epochs=3, verbose=0, callbacks=[DSDCallback(sparsity=0.5, epochs=(1, 1, 1)), seen])
    assert zeros == [[0, 0], [12, 12], [0, 0]]


def test_a_scaled_loss_keeps_its_scale():
    """What overflows is found out once, not again at every boundary; a schedule is found inside, too."""
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(), initial_scale=64.0, dynamic_growth_steps=3)
    model, scales = compiled(optimizer), []
    seen = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_, **__: scales.append(float(keras.ops.convert_to_numpy(optimizer.dynamic_scale)))
    )
    fit(model, seen)
    assert scales == sorted(scales)
    assert scales[-1] > 64 * 4
    rate = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    with pytest.raises(RedenseError, match="got a schedule as learning rate"):
        fit(compiled(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(rate))))


@pytest.mark.parametrize("include", [False, True])
def test_embeddings_and_exclusions_stay_dense(include):
    model = keras.Sequential(
        [
            keras.Input((3,), dtype="int32"),
            keras.layers.Embedding(5, 4),
            keras.layers.LSTM(3, return_sequences=True),
            keras.layers.Flatten(),
            keras.layers.Dense(4, name="first"),
            keras.layers.Dense(4, name="second"),
        ]
    )
    model.compile("sgd", "mse")
    dsd = DSDCallback(sparsity=0.5, epochs=(1, 1, 1), exclude=["*second*"], include=["*embedding*"] * include)

    class Seen(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                self.masks = dict(dsd.masks)

    seen = Seen()
    model.fit(np.ones((4, 3)), np.ones((4, 4)), epochs=3, verbose=0, callbacks=[dsd, seen])
    pruned = [path.split("/")[-2] + " " + path.split("/")[-1] for path in seen.masks]
    kernels = ["lstm_cell kernel", "lstm_cell recurrent_kernel", "first kernel"]
    assert pruned[-3:] == kernels
    assert len(pruned) == 3 + include


class Gain(keras.layers.Layer):
    """A layer scale that its author calls a kernel."""

    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(1, shape[-1]), initializer="ones")

    def call(self, x):
        return x * self.kernel


class Big(keras.layers.Layer):
    """A weight of somebody's own layer."""

    def build(self, shape):
        self.w = self.add_weight(name="w", shape=(shape[-1], 64))

    def call(self, x):
        return keras.ops.matmul(x, self.w)


class Own(keras.layers.Dense):
    pass


class Tied(keras.layers.Embedding):
    """An embedding around an output layer, whose weight it uses."""

    def build(self, shape):
        super().build(shape)
        self.out = keras.layers.Dense(self.input_dim)
        self.out.build((None, self.output_dim))


BOTH = ["kernel", "recurrent_kernel"]
LAYERS = {
    "dense": (lambda: Own(4), (5,), ["kernel"]),
    "convolution": (lambda: keras.layers.Conv2D(2, 3), (5, 5, 2), ["kernel"]),
    "transposed": (lambda: keras.layers.Conv1DTranspose(2, 3), (5, 2), ["kernel"]),
    "depthwise": (lambda: keras.layers.DepthwiseConv2D(3), (5, 5, 2), ["kernel"]),
    "separable": (lambda: keras.layers.SeparableConv1D(2, 3), (5, 2), ["depthwise_kernel", "pointwise_kernel"]),
    "lstm": (lambda: keras.layers.LSTM(3), (5, 2), BOTH),
    "gru both ways": (lambda: keras.layers.Bidirectional(keras.layers.GRU(3)), (5, 2), BOTH * 2),
    "convolutional lstm": (lambda: keras.layers.ConvLSTM1D(3, 2), (5, 4, 2), BOTH),
    "in time": (lambda: keras.layers.TimeDistributed(keras.layers.Dense(3)), (5, 2), ["kernel"]),
    "normalised": (lambda: keras.layers.SpectralNormalization(keras.layers.Dense(3)), (2,), ["kernel"]),
    "scale": (Gain, (5,), []),
    "own": (Big, (5,), []),
    "embedding": (lambda: keras.layers.Embedding(5, 3), (2,), []),
    "shared with an embedding": (lambda: Tied(5, 3), (2,), []),
    "norm": (lambda: keras.layers.LayerNormalization(axis=(1, 2)), (5, 2), []),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_the_weights_of_layers_are_pruned_and_nothing_else(kind):
    make, shape, expected = LAYERS[kind]
    model = keras.Sequential(
        [keras.Input(shape), make(), keras.layers.Flatten(), keras.layers.Dense(2, name="last")], name="net"
    )
    found = [variable.path for variable in prunable(model, (), ())]
    assert [path.rpartition("/")[2] for path in found] == [*expected, "kernel"]
    assert found[-1] == "net/last/kernel"


def mixed():
    model = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(8, name="first"), Gain(), Big(name="big"), keras.layers.Dense(4)],
        name="net",
    )
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize(
    ("settings", "layers"),
    [
        ({"exclude": keras.layers.Dense, "include": ["*/big/*"]}, ["big"]),
        ({"include": [Big], "exclude": "*/first/*"}, ["big", "dense"]),
    ],
)
def test_types_of_layers_are_included_and_excluded(settings, layers):
    dsd = DSDCallback(sparsity=0.5, epochs=(1, 1, 1), **settings)
    paths = [variable.path for variable in prunable(mixed(), dsd.include, dsd.exclude)]
    assert [path.split("/")[1].partition("_")[0] for path in paths] == layers


@pytest.mark.parametrize("verbose", [True, False])
def test_a_line_at_each_boundary(verbose, caplog):
    model = mixed()
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: 0.5**epoch)
    dsd = DSDCallback(sparsity=0.5, epochs=(1, 2, 1), verbose=verbose)
    with caplog.at_level("INFO", logger="redense"):
        model.fit(X, X[:, :4], epochs=4, verbose=0, callbacks=[dsd, schedule])
    dense = "; left dense: net/big/w (61% of the parameters), which include=['net/big/w'] would prune"
    lines = [
        f"DSD: dense, epochs 0 to 0 of 4, rate 1: 304 weights in 2 tensors are free{dense}",
        f"DSD: sparse 50%, epochs 1 to 2 of 4, rate 0.5: 152 of 304 weights in 2 tensors are held at zero{dense}",
        f"DSD: re-dense 50%, epochs 3 to 3 of 4, rate 0.0125: 304 weights in 2 tensors are free{dense}",
    ]
    assert [record.getMessage() for record in caplog.records] == lines * verbose


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": (1, 1, 1)}, "the phases take 3 epochs, fit makes 5"),
        ({"epochs": (1, 1)}, r"epochs: got \(1, 1\); expected three integers"),
        ({"rates": (1, 1, 0)}, r"rates: got \(1.0, 1.0, 0.0\); expected three finite"),
        ({"exclude": ["kern"]}, "exclude: the pattern 'kern' matches no kernel; expected one of"),
        ({"exclude": [keras.layers.LSTM]}, "exclude: the model has no kernel in any LSTM; expected one of"),
        ({"exclude": [keras.layers.Dense]}, "nothing is left to prune: .*; include some of .*/kernel"),
        ({"include": [3]}, "include: got 3; expected names, shell patterns or types of layers"),
        ({"exclude": int}, "exclude: got <class 'int'>; expected names, shell patterns or types of layers"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(RedenseError, match=message):
        fit(compiled(), **settings)


def test_a_schedule_as_learning_rate():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    with pytest.raises(RedenseError, match="got a schedule as learning rate"):
        fit(compiled(keras.optimizers.SGD(schedule)))


@pytest.mark.parametrize("scaled", [False, True])
def test_an_epoch_without_an_update_is_an_error(scaled):
    """Of three batches an epoch, gradients over three make one update; over four, the first epoch has none."""
    for over in (3, 4):
        optimizer = keras.optimizers.Adam(gradient_accumulation_steps=over)
        model = compiled(keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer)
        if over == 3:
            assert fit(model).zeros == {0: {0}, 1: {0}, 2: {12}, 3: {12}, 4: {12, 0}}
        else:
            with pytest.raises(TrainingError, match="epoch 1 ended without an update"):
                fit(model)
