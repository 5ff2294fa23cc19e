"""Every number of the simulated world, and what fixed it.

They were chosen from statistics, and from the oracle against a random order, on
generator seeds from 1,000 up.  No learned model was run while choosing, and
seeds 0 to 99 are for reporting alone.
"""

# Classes.  YouTube-8M: more classes than rated ones, and ids with gaps.
NUM_TOPICS = 10
CLASSES_PER_TOPIC = 6  # 60 video classes; the first two are rated
NUM_IDS = 100  # vocabulary ids are drawn from range(NUM_IDS)
SENSES = "BB SS HH BB SS BH SB HS BB SH"  # rated: (S)een, (H)eard, (B)oth
ALIKE_TOPICS = (0, 1, 2)  # their rated classes are confusable
ORDERED_TOPICS = (3, 4)  # theirs differ in temporal order alone
RARE_TOPICS = (1, 3, 6, 8)  # their second rated class is rare
RARE_SHARE = 0.6  # of an ordinary rated class' popularity
VIDEO_ONLY_SHARE = 0.5  # YouTube-8M: the rated ids are frequent ones
POPULARITY_SPREAD = 0.15  # log-normal, over classes

# Videos.  YouTube-8M: a frame a second; shorter here, to save room.
FRAMES = (40, 120)
MORE_CONCEPTS = 1.9  # Poisson, beside the first
MOST_CONCEPTS = 6
SAME_TOPIC = 0.8  # of the concepts: context is informative
FILLED = (0.15, 0.42)  # of the video's frames: a minority
MOST_INTERVALS = 3

# Video labels.  YouTube-8M: about 3.0 a video.
LABEL_KEPT = 0.82
LABELS_ADDED = 0.42  # Poisson
ADDED_TWIN = 0.5  # of these; the rest are any class, off topic

# Ratings.  YouTube-8M: 5.0 rated segments a video, about one class each, 55.7
# per cent positive; the first 6 and last 2 of some 46 never rated.
RATINGS = (3, 7)
SOUGHT = 0.75  # share of ratings where the concept is looked for
MISTAKES = 0.02  # of the annotator
UNRATED = (2, 1)  # segments at the start and at the end of a video

# Frames, in units of the latent noise.  Fixed by the oracle's MAP: from the
# middle frame 0.75 to 0.85, from the five frames 0.93 to 0.98.
LATENT = (64, 24)  # visual, audio
GAIN = 3.4
GAIN_SPREAD = 0.2  # log-normal, from video to video
VISIBLE = 0.65  # of the frames a concept fills do show it
FLASH = 0.15  # of all frames show a passing concept of the topic
CYCLE = 4  # ordered: first, second, then nothing for two frames
ALIKE = 0.6  # cosine between confusable signatures
TOPIC_GAIN = 1.5
VIDEO_SPREAD = 0.25  # of the background's mean, per dimension
DRIFT_RANK = 3
DRIFT_GAIN = 1.5
DRIFT_MEMORY = 0.95  # autoregression from frame to frame

# Features.  YouTube-8M: bytes over [-2, 2], after a PCA.
FEATURE_STD = 0.5  # clips less than one value in a thousand
FEATURE_NOISE = 0.1
SPECTRUM = 16.0  # dimensions after which the variance is half
