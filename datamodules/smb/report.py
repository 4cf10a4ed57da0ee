"""What preprocessing has made of which episode: memory of the work and report of it in one file."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

REPORT = "report.json"
REMEDY = "give --overwrite or another --output_dir"
FORMAT = 1  # raise it when what is written changes


class PreprocessError(ValueError):
    """The work cannot be begun or go on; one line tells why and what to do."""


@dataclass
class Episode:
    """What has become of one episode."""

    source: str
    """Digest of the names, sizes and times of its files."""
    level: str | None
    outcome: str | None = None
    finished: bool = False
    frames: int = 0
    seconds: float = 0.0
    videos: list[str] = field(default_factory=list)
    """Names, more than one where frames are missing in between."""
    quarantined: list[tuple[str, str]] = field(default_factory=list)
    """Files that are left out, and why."""


class Report:
    """What has been done into a folder.

    Args:
        folder: output folder.
        codec: of the videos.

    Raises:
        PreprocessError: if it holds what was made in another way.
    """

    def __init__(self, folder: Path, codec: str) -> None:
        self.path, self.codec = folder / REPORT, codec
        self.episodes: dict[str, Episode] = {}
        """By their paths below the input folder."""
        if self.path.is_file():
            self._load()

    def _load(self) -> None:
        try:
            saved = json.loads(self.path.read_text())
            made = (saved["format"], saved["codec"])
            self.episodes = {name: Episode(**row) for name, row in saved["episodes"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PreprocessError(f"{self.path} is no report of this program; {REMEDY}") from error
        if made != (FORMAT, self.codec):
            raise PreprocessError(
                f"{self.path.parent} was made as {made[1]}, format {made[0]}, not as "
                f"{self.codec}, format {FORMAT}; {REMEDY}"
            )

    def refuse_to_overwrite(self, name: str, source: str) -> None:
        """Allows what is not there yet, and what this program has made of the same files.

        Args:
            name: of the episode.
            source: digest of its files.

        Raises:
            PreprocessError: if there are videos of others, or of other frames.
        """
        known, target = self.episodes.get(name), self.path.parent / name
        if known is None and (video := video_of(target)).exists():
            raise PreprocessError(f"{video} is there; {REMEDY}")
        if known is not None and known.finished:
            if known.source != source:
                raise PreprocessError(f"the frames of {name} have changed since; {REMEDY}")
            videos = [target.with_name(video) for video in known.videos]
            if lost := [video for video in videos if not video.is_file()]:
                raise PreprocessError(f"{lost[0]} is gone; {REMEDY}")

    def save(self) -> None:
        """Writes a file that is complete when it appears."""
        rows = {name: asdict(episode) for name, episode in sorted(self.episodes.items())}
        content = {"format": FORMAT, "codec": self.codec, **self.totals(), "episodes": rows}
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(content, indent=1) + "\n")
        os.replace(part, self.path)

    def totals(self) -> dict[str, object]:
        """Counts over all episodes, and frames by level."""
        done = [episode for episode in self.episodes.values() if episode.finished]
        levels: Counter[str] = Counter()
        for episode in done:
            levels[episode.level or "unknown"] += episode.frames
        return {
            "finished": len(done),
            "frames": sum(episode.frames for episode in done),
            "seconds": round(sum(episode.seconds for episode in done), 1),
            "quarantined": sum(len(episode.quarantined) for episode in done),
            "levels": dict(sorted(levels.items())),
        }


def video_of(episode: Path, number: int | None = None) -> Path:
    """Video of an episode, or of its part that begins with this frame."""
    return episode.with_name(episode.name + (f"_f{number}.avi" if number else ".avi"))
