"""What the normalisations share: `rows` for those of rows, `channels` for those of channels."""
