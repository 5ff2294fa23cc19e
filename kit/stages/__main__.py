"""`python -m kit.stages`: any of the members through both stages."""

import signal
import sys

data_dir = None  # folder or glob of TFRecord shards; None: look, or simulate
output_dir = None  # where results go; None: the working folder of the host
pack_dir = None  # a pack of snippets, to pre-train on in place of shards
seed = 0  # of everything drawn at random, the simulated sample included
members = None  # names in kit.presets.MEMBERS, comma-separated
baseline = True  # train what notebook 4 compares the members with, too
only = None  # pretrain or finetune; None: both
workers = None  # members at once; None: one for each GPU
devices = None  # "all" to spread a member over all devices
scale = None  # "paper" or "tiny"
num_classes = None  # size of the vocabulary of video labels
frame_spec = None  # rgb, audio, max_frames, segment_frames of other features
steps = None  # optimisation steps of a member, in each stage
batch_size = None  # examples a step
learning_rate = None  # at the start; times 0.9 every 2 M examples
warmup_steps = None  # steps over which it rises from zero
averaging_share = None  # share of the weights before in those that are kept
evaluate_every = None  # steps between two looks at the hold-out
patience = None  # looks without a better score before fine-tuning stops
from_scratch = None  # fine-tune without pre-trained weights
precision = None  # a dtype policy of Keras; None: what suits the device
holdout_fraction = None  # share of the validate videos never trained on
time_limit = None  # hours until it stops, to go on later; None: the host's
restart = None  # yes: begin anew; take it out again to go on later


def main() -> None:
    from kit import presets, runtime
    from kit.stages import PLANS, begin_anew, check, evaluation, queue, train

    given = runtime.flags(globals())
    wanted = [given["only"]] if given["only"] else list(PLANS)
    if given["from_scratch"]:
        wanted = ["finetune"]
    # So that workers end with us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    queue.end_with_parent()
    for stage in wanted:
        run = runtime.settings(given, **PLANS[stage])
        names = list(run.members)
        if run.baseline and presets.REFERENCE not in names:
            names.append(presets.REFERENCE)
        places = queue.slots(run)
        if len(places) > 1:
            check(stage, run, names)
            if run.restart:
                begin_anew(run, wanted, names)
            queue.work(run, wanted, names, places)
            break
        print(runtime.prepare(run.seed, run.precision, run.devices))
        evaluate = evaluation(run)
        if run.restart and stage == wanted[0]:
            check(stage, run, names)
            begin_anew(run, wanted, names)
        found = train(stage, run, names, evaluate)
        done = [history.attrs["finished"] for history in found.values()]
        if sum(done) < len(names):
            break
    print(queue.table(run, wanted, names).to_string())


if __name__ == "__main__":
    main()
