"""Checks of a training folder before an hour is spent on it: every fault at once, whatever the bytes.

`folder.check_folder` checks a data set as trainers are given it, with kohya's layout (pictures beside texts, masks in
the alpha channel or a folder, `dataset.toml`) or that of diffusers and `datasets` (`metadata.jsonl`);
`examples.check_examples` checks what the trainer that comes along is about to learn from. Nothing is written.

| module         | looks at                                                                    |
|----------------|-----------------------------------------------------------------------------|
| `rules`        | every rule: how grave, and what to do                                       |
| `tree`         | which files there are, and which of them may be opened                      |
| `layout`       | which folders trainers read, and where their masks are                      |
| `dataset_toml` | kohya's configuration of a data set                                         |
| `samples`      | which picture goes with which mask and caption                              |
| `names`        | file names against one another: captions, masks and caches without pictures |
| `picture`      | one picture: its header, then its pixels                                    |
| `mask`         | one mask beside its picture                                                 |
| `masking`      | which pictures lack a mask                                                  |
| `caption`      | the bytes of one caption                                                    |
| `metadata`     | the lines of a `metadata.jsonl`                                             |
| `threads`      | many files at a time, none of which stops the others                        |
"""
