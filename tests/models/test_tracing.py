import tensorflow as tf

from models.tracing import branches_as_calls, traced_for_all


def test_a_function_is_traced_once_for_all_graphs_that_call_it_with_the_same_settings():
    traces = []

    def multiplied(numbers, *, factor):
        traces.append(factor)
        return numbers * factor

    def graph(factor):
        @tf.function(autograph=False)
        def whole(numbers):
            return traced_for_all(multiplied, spec, factor=factor)(numbers) + 1

        return whole.get_concrete_function(tf.TensorSpec([2], tf.int32))

    spec = tf.TensorSpec([None], tf.int32)
    first, again, other = graph(3), graph(3), graph(5)
    assert traces == [3, 5]
    numbers = tf.constant([1, 2])
    assert [whole(numbers).numpy().tolist() for whole in (first, again, other)] == [
        [4, 7], [4, 7], [6, 11],
    ]  # fmt: skip


def _traced():
    def halved_until_odd(number):
        return tf.cond(
            number > 100,
            lambda: tf.constant(100),
            lambda: tf.while_loop(lambda n: n % 2 == 0, lambda n: (n // 2,), (number,))[0],
        )

    traced = tf.function(halved_until_odd, autograph=False)
    return traced.get_concrete_function(tf.TensorSpec([], tf.int32))


def _marked(traced):
    """How many branches and loops are spread over the graph that calls them when it is loaded."""
    graph = traced.graph.as_graph_def()
    nodes = [*graph.node, *(node for body in graph.library.function for node in body.node_def)]
    return sum(node.attr["_lower_using_switch_merge"].b for node in nodes)


def test_branches_that_are_calls_are_not_spread_over_the_graph_and_answer_the_same():
    with branches_as_calls():
        calls = _traced()
    spread = _traced()
    assert (_marked(calls), _marked(spread)) == (0, 2)
    for number, answer in ((104, 100), (40, 5), (7, 7)):
        assert calls(tf.constant(number)).numpy() == spread(tf.constant(number)).numpy() == answer
