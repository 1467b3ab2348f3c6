"""The network: a small residual CNN over log-mel spectrograms with attentive statistics pooling.

Made for one CPU core: the spectrogram is halved in both axes at once, channels are multiples of 16 (the width
of a vector register), and what a 3 s segment costs is asserted by a test. Needs torch; knows nothing of corpora
or training.
"""

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

# The network hears the spectrogram relative to the segment's own level, down to this far below it: the level of a
# telephone line says nothing about the speaker, and neither does its noise floor.
_RANGE_DB: Final = 60.0
_SCALE_DB: Final = 20.0
# A sum's last digit depends on what else is in the batch; steps hide it from the layers that may compute in integers.
_LEVEL_STEP_DB: Final = 0.125
_NEPER_POWER_A_DB: Final = math.log(10) / 10
_SILENCE_POWER: Final = 1e-12
_NO_ATTENTION: Final = -1e4


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut; the first halves the axes that `stride` names."""

    def __init__(self, channels_in: int, channels_out: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels_out)
        self.second = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels_out)
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(stride), nn.Conv2d(channels_in, channels_out, 1, bias=False), nn.BatchNorm2d(channels_out)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[batch, channels_out, frames / stride[0], bands / stride[1]]``."""
        y = functional.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        return functional.relu(y + self.shortcut(x))


class EmotionNetwork(nn.Module):
    """Log-mel spectrograms in, a logit a class out.

    Parameters
    ----------
    n_classes
        Number of emotions.
    n_mels
        Bands of the spectrogram, a multiple of 16.
    min_db
        What silence and padding read.
    dropout
        Share of the pooled statistics that training leaves out.
    """

    frame_stride = 8
    """Frames that become one: segments are padded to a multiple of it."""
    pooled_size = 320
    """Numbers that a segment is classified by."""

    def __init__(self, n_classes: int, n_mels: int, min_db: float, dropout: float = 0.3) -> None:
        super().__init__()
        self.min_db = min_db
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.blocks = nn.Sequential(
            ResidualBlock(16, 16, (1, 2)),
            ResidualBlock(16, 32, (2, 1)),
            ResidualBlock(32, 64, (2, 2)),
            ResidualBlock(64, 96, (1, 2)),
        )
        self.project = nn.Sequential(nn.Conv1d(96 * n_mels // 16, 160, 1, bias=False), nn.BatchNorm1d(160), nn.ReLU())
        self.context = nn.Sequential(nn.Conv1d(160, 160, 3, padding=1, bias=False), nn.BatchNorm1d(160))
        self.attention = nn.Sequential(nn.Conv1d(160, 32, 1), nn.Tanh(), nn.Conv1d(32, 1, 1))
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(self.pooled_size, n_classes)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return logits ``[batch, classes]`` of decibels ``[batch, frames, n_mels]``."""
        return self.classify_relative(self.relative(log_mel))

    def relative(self, log_mel: Tensor) -> Tensor:
        """Return the spectrogram above the segment's own noise range, 0 (silence and padding) to about 4.

        The level is that of the mean power over the frames that are not digital silence, so that padding does
        not change it.
        """
        power = torch.exp(log_mel * _NEPER_POWER_A_DB).mean(dim=2, keepdim=True)
        heard = (log_mel.amax(dim=2, keepdim=True) > self.min_db).to(log_mel.dtype)
        mean_power = (power * heard).sum(dim=1, keepdim=True) / heard.sum(dim=1, keepdim=True).clamp(min=1)
        level_db = torch.log(mean_power.clamp(min=_SILENCE_POWER)) / _NEPER_POWER_A_DB
        level_db = torch.round(level_db / _LEVEL_STEP_DB) * _LEVEL_STEP_DB
        return functional.relu(log_mel - level_db + _RANGE_DB) * heard / _SCALE_DB

    def classify_relative(self, relative: Tensor) -> Tensor:
        """Return logits ``[batch, classes]`` of what `relative` gave."""
        return self.classify_pooled(self.pool(relative))

    def classify_pooled(self, pooled: Tensor) -> Tensor:
        """Return logits ``[batch, classes]`` of what `pool` gave."""
        logits: Tensor = self.classify(self.dropout(pooled))
        return logits

    def pool(self, relative: Tensor) -> Tensor:
        """Return mean and standard deviation over time, where attended to, ``[batch, pooled_size]``."""
        heard = functional.max_pool1d(relative.amax(dim=2).unsqueeze(1), self.frame_stride) > 0
        x = self.blocks(self.stem(relative.unsqueeze(1)))
        x = self.project(x.transpose(2, 3).flatten(1, 2))
        x = functional.relu(x + self.context(x))
        scores = torch.where(heard, self.attention(x), torch.full_like(x[:, :1], _NO_ATTENTION))
        weights = torch.softmax(scores, dim=2)
        mean = (weights * x).sum(dim=2)
        variance = (weights * torch.square(x - mean.unsqueeze(2))).sum(dim=2)
        return torch.cat((mean, torch.sqrt(variance + 1e-5)), dim=1)
