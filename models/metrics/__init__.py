"""How near a result is to the truth: one module a family of figures, numpy and scikit-learn only.

A figure whose denominator is empty is None, never 0 or 1: nothing was there to be right or wrong about.

- `boundaries`: precision, recall and F1 of shot boundaries
- `overlap`: intersection over union of masks, and which mask a layer shows
- `clustering`: purity, completeness, adjusted Rand index
- `classes`: precision and recall a class
- `keypoints`: share of correct keypoints
- `psnr`: peak signal-to-noise ratio, pooled over pictures
- `truth`: the exact truth of a rendered film
- `figure`: a value with its support, direction and unit

And how good generated pictures are, where there is no truth to hold them against:

- `judges`, `world_probe/`: whether a picture shows what a LoRA was to teach
- `text_scorers`, `text_image`: how well it shows what its prompt says, by CLIP or SigLIP 2
- `likeness`: how much it looks like the subject's held-out pictures, by any backend of `models/embed`
- `copying`: whether it repeats a training picture
- `diversity`: how much a set of pictures differs: Vendi score, mean distance
- `interference`: who disturbs whom in a stack, seed by seed
- `weight_choice`: which tried stacking weights are best, and how sure that is
- `bootstrap`: how sure the mean of any of them is

A measure that cannot be taken is None, never 0 or 1. Faces are not compared: no backend of `models/face` tells one from
another. Nor is LPIPS: what computes it needs torchvision.
"""
