"""Loading as a reader of the chapter writes it in TensorFlow: tf.io, tf.data."""

from collections.abc import Iterator

import tensorflow as tf

from benchmarks.baselines.chapter import color_table
from benchmarks.cases.load import Batches, Files
from common.config import Config
from tf_impl.device import device_of


def decode(image_path: tf.Tensor, label_path: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    image = tf.io.read_file(image_path)
    # By default it decodes faster and less exactly than the other frameworks do.
    image = tf.io.decode_jpeg(image, channels=3, dct_method="INTEGER_ACCURATE")
    return image, tf.io.decode_png(tf.io.read_file(label_path), channels=3)


def create_loader(files: Files, config: Config) -> Batches:
    """Return f(n), which yields the first n batches of an epoch."""
    recipe, plan, device = config.recipe, files.plan, device_of(config)
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    with tf.device("CPU:0"):
        classes = tf.constant(color_table())
        corners = plan.tops.astype("int32"), plan.lefts.astype("int32")
        crops = tf.data.Dataset.from_tensor_slices((*corners, plan.flips))
        pairs = tf.data.Dataset.from_tensor_slices(files.paths)
    if files.cached:
        pairs = pairs.map(decode, num_parallel_calls=tf.data.AUTOTUNE).cache()
        for _ in pairs:
            pass

    def cut(
        pair: tuple[tf.Tensor, tf.Tensor], crop: tuple[tf.Tensor, ...]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        image, label = pair if files.cached else decode(*pair)
        top, left, flip = crop
        image = tf.image.crop_to_bounding_box(image, top, left, *recipe.crop)
        label = tf.image.crop_to_bounding_box(label, top, left, *recipe.crop)
        if flip:
            image, label = image[:, ::-1], label[:, ::-1]
        colors = tf.cast(label, tf.int32)
        packed = (colors[..., 0] * 256 + colors[..., 1]) * 256 + colors[..., 2]
        return image, tf.gather(classes, packed)

    def pipeline(count: int) -> tf.data.Dataset:
        rows = tf.data.Dataset.zip(pairs, crops).take(count * recipe.batch_size)
        cuts = rows.map(cut, num_parallel_calls=tf.data.AUTOTUNE)
        batched = cuts.batch(recipe.batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads
        return batched.with_options(options)

    # Made once: a new pipeline is traced before it runs.
    pipelines = [pipeline(count) for count in range(1, plan.batches_per_epoch + 1)]

    def batches(count: int) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        for images, labels in pipelines[count - 1]:
            with tf.device(device):
                yield tf.identity(images), tf.identity(labels)

    return batches
