"""Training captions: what is known of a picture, put into words that leave the trigger its meaning.

| name       | backend                                   |
|------------|-------------------------------------------|
| `template` | sentences built from the earlier stages' facts |
"""
