"""An independent judge of pictures of the sample film's world: it says what they show."""
