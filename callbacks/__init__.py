"""Callbacks: what watches a run, writes its files and brings it back."""

from callbacks.codebook_usage import CodebookUsage
from callbacks.due_validation import DueValidation
from callbacks.embedding_writer import EmbeddingWriter
from callbacks.find_batch_size import FindBatchSize
from callbacks.finite_loss import FiniteLoss
from callbacks.gif_samples import GifSamples
from callbacks.graceful_stop import GracefulStop
from callbacks.loss_curve import LossCurve
from callbacks.restoration_pictures import RestorationPictures
from callbacks.run_summary import RunSummary
from callbacks.safe_checkpoint import SafeCheckpoint
from callbacks.segment_writer import SegmentWriter
from callbacks.step_progress_bar import StepProgressBar
from callbacks.stream_monitor import StreamMonitor
from callbacks.stream_position import StreamPosition

__all__ = [
    "CodebookUsage",
    "DueValidation",
    "EmbeddingWriter",
    "FindBatchSize",
    "FiniteLoss",
    "GifSamples",
    "GracefulStop",
    "LossCurve",
    "RestorationPictures",
    "RunSummary",
    "SafeCheckpoint",
    "SegmentWriter",
    "StepProgressBar",
    "StreamMonitor",
    "StreamPosition",
]
