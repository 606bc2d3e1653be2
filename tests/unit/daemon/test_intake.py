"""When is a folder complete?  Every look at real files, with the clock in the test's hand."""

import os
from pathlib import Path

import pytest

import fakes
from daemon import folders
from daemon.config import Config, load_config
from daemon.intake import Look, Memory, Verdict, look


class Desk:
    """One folder, looked at as time passes."""

    def __init__(self, folder: Path, **intake: object) -> None:
        self.folder = folder
        self.memory = Memory()
        times = {"settle_s": 2.0, "damaged_after_s": 60.0, "incomplete_after_s": 900.0, "scan_s": 1.0} | intake
        self.config: Config = load_config(root=folder.parent, intake=times)

    def at(self, now_s: float) -> Look:
        with folders.opened(self.folder.parent, self.folder.name) as folder_fd:
            return look(folder_fd, self.memory, now_s, self.config, self.config.intake.settle_s)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(fakes.write_job(tmp_path / "shoe"))


def test_a_whole_folder_is_taken_when_it_has_settled(desk: Desk) -> None:
    """Not at first sight, not before settle_s, exactly then; and the next look is due exactly then."""
    first = desk.at(100.0)
    assert (first.verdict, first.next_s) == (Verdict.WAIT, 102.0)
    assert desk.at(101.9).verdict is Verdict.WAIT
    taken = desk.at(102.0)
    assert taken.verdict is Verdict.TAKE
    assert set(taken.found.pictures) == set(fakes.JOB_FILES)


def test_any_change_starts_the_settling_again(desk: Desk) -> None:
    """A file that grows, is replaced, or comes new restarts the clock, whatever its date says."""
    desk.at(100.0)
    (desk.folder / "view_00.png").write_bytes(fakes.png(8, 8))
    desk.at(101.5)
    assert desk.at(102.5).verdict is Verdict.WAIT
    os.utime(desk.folder / "view_00.png", ns=(1, 1))
    desk.at(103.5)
    assert desk.at(105.0).verdict is Verdict.WAIT
    (desk.folder / "notes.txt").touch()
    desk.at(105.4)
    assert desk.at(107.3).verdict is Verdict.WAIT
    assert desk.at(107.4).verdict is Verdict.TAKE


@pytest.mark.parametrize("mtime_s", [0, 4_000_000_000])
def test_dates_of_the_past_and_future_make_no_difference(desk: Desk, mtime_s: int) -> None:
    """Preserved and wrong modification times are only compared, never subtracted."""
    for name in fakes.JOB_FILES:
        os.utime(desk.folder / name, (mtime_s, mtime_s))
    desk.at(100.0)
    assert desk.at(102.0).verdict is Verdict.TAKE


def test_a_preallocated_copy_is_not_complete(desk: Desk) -> None:
    """The final size with half the bytes and a paused writer is incomplete, and says how far it is."""
    whole = fakes.png(64, 64, 9)
    half = whole[: len(whole) // 2]
    (desk.folder / "view_03.png").write_bytes(half + bytes(len(whole) - len(half)))
    for now_s in (100.0, 110.0, 150.0):
        seen = desk.at(now_s)
        assert seen.verdict is Verdict.WAIT
        assert [item.file for item in seen.found.unfinished] == ["view_03.png"]
    os.utime(desk.folder / "view_03.png", ns=(5, 5))
    desk.at(151.0)
    with (desk.folder / "view_03.png").open("r+b") as file:
        file.write(whole)
    os.utime(desk.folder / "view_03.png", ns=(5, 5))
    assert desk.at(200.0).verdict is Verdict.TAKE, "mended without any visible change of size and date"


def test_a_placeholder_of_no_bytes_is_waited_for(desk: Desk) -> None:
    """Finder and scanners make an empty file first."""
    (desk.folder / "depth_02.png").write_bytes(b"")
    assert desk.at(100.0).found.unfinished[0].file == "depth_02.png"
    assert desk.at(150.0).verdict is Verdict.WAIT


def test_a_damaged_picture_fails_after_a_minute(desk: Desk) -> None:
    """Long enough for a paused copy, short enough for a person."""
    (desk.folder / "view_03.png").write_bytes(fakes.png(64, 64)[:-9])
    assert desk.at(100.0).verdict is Verdict.WAIT
    assert desk.at(159.0).verdict is Verdict.WAIT
    refused = desk.at(160.0)
    assert refused.verdict is Verdict.REFUSE
    assert refused.failure is not None
    assert (refused.failure.code, refused.failure.file) == ("INPUT_CORRUPT", "view_03.png")


def test_a_missing_picture_fails_after_fifteen_minutes(desk: Desk) -> None:
    """While it waits it says what is missing; once it has settled it is looked at again only when it changes."""
    (desk.folder / "depth_04.png").unlink()
    assert any("depth_04" in name for name in desk.at(100.0).found.missing)
    pauses = [desk.at(now_s).next_s - now_s for now_s in (101.0, 120.0, 200.0, 900.0)]
    assert pauses == [1.0, 880.0, 800.0, 100.0]
    assert desk.at(999.0).verdict is Verdict.WAIT
    refused = desk.at(1000.0)
    assert refused.failure is not None
    assert refused.failure.code == "INPUT_INCOMPLETE"


def test_the_job_may_ask_for_more_or_less_patience(desk: Desk) -> None:
    """incomplete_after_s in job.toml replaces the operator's time for this folder."""
    (desk.folder / "depth_04.png").unlink()
    (desk.folder / "job.toml").write_text("incomplete_after_s = 5.0\n")
    desk.at(100.0)
    assert desk.at(105.0).verdict is Verdict.REFUSE


def test_ready_takes_at_once(desk: Desk) -> None:
    """READY in any case replaces the settling, but not the completeness."""
    (desk.folder / "ready.txt").touch()
    assert desk.at(100.0).verdict is Verdict.TAKE


def test_ready_does_not_start_on_half_a_folder(desk: Desk) -> None:
    """READY copied first, as the alphabet has it, is not believed; it only shortens the patience."""
    (desk.folder / "READY").touch()
    (desk.folder / "view_05.png").unlink()
    assert desk.at(100.0).verdict is Verdict.WAIT
    assert desk.at(159.0).verdict is Verdict.WAIT
    assert desk.at(160.0).verdict is Verdict.REFUSE


def test_a_copy_under_way_is_waited_for(desk: Desk) -> None:
    """A temporary name in a complete folder holds it up, unless it has been forgotten there."""
    (desk.folder / "extra.png.part").write_bytes(b"1")
    desk.at(100.0)
    waiting = desk.at(110.0)
    assert waiting.verdict is Verdict.WAIT
    assert "extra.png.part" in waiting.note
    assert desk.at(160.0).verdict is Verdict.TAKE


def test_leftovers_do_not_disturb(desk: Desk) -> None:
    """What file managers leave and what we wrote ourselves neither blocks nor counts as a change."""
    desk.at(100.0)
    for name in (".DS_Store", "Thumbs.db", "status.json", "preview.png", "CANCELLED", "RETRY"):
        (desk.folder / name).write_bytes(b"x")
    (desk.folder / "previous-results").mkdir()
    assert desk.at(102.0).verdict is Verdict.TAKE


def test_cancel_wins_over_everything(desk: Desk) -> None:
    """Also a folder that would be refused is cancelled when that is asked."""
    (desk.folder / "job.toml").write_text("nonsense = 1")
    (desk.folder / "Cancel.txt").touch()
    assert desk.at(100.0).verdict is Verdict.CANCEL


def test_a_mistake_waits_for_the_copier(desk: Desk) -> None:
    """A refusal comes only when the folder is quiet: it moves the folder away from under the copier."""
    (desk.folder / "job.toml").write_text("nonsense = 1")
    assert desk.at(100.0).verdict is Verdict.WAIT
    refused = desk.at(102.0)
    assert refused.failure is not None
    assert refused.failure.code == "OPTIONS_INVALID"


def test_two_options_files_are_a_mistake(desk: Desk) -> None:
    """Which of them would win is not for us to guess."""
    (desk.folder / "job.toml").write_text("")
    (desk.folder / "job.json").write_text("{}")
    desk.at(100.0)
    refused = desk.at(102.0)
    assert refused.failure is not None
    assert refused.failure.code == "OPTIONS_INVALID"


def test_names_that_differ_in_capitals_only_are_refused(desk: Desk) -> None:
    """Which of view_00.png and VIEW_00.PNG is meant is not for us to guess."""
    (desk.folder / "VIEW_00.PNG").write_bytes(fakes.png())
    desk.at(100.0)
    refused = desk.at(102.0)
    assert refused.failure is not None
    assert refused.failure.code == "INPUT_FORBIDDEN_FILE"
    assert "differ only in capitals" in refused.failure.message


def test_a_folder_of_jobs_is_a_batch(tmp_path: Path) -> None:
    """Only folders inside, at least one of which looks like a job."""
    fakes.write_job(tmp_path / "monday" / "shoe")
    (tmp_path / "monday" / "empty").mkdir()
    assert Desk(tmp_path / "monday").at(100.0).verdict is Verdict.BATCH


def test_a_layout_with_folders_is_no_batch(tmp_path: Path) -> None:
    """images/ beside depth/ is one job, also while only one of them has arrived."""
    (tmp_path / "shoe/images").mkdir(parents=True)
    (tmp_path / "shoe/images/a.png").write_bytes(fakes.png())
    assert Desk(tmp_path / "shoe").at(100.0).verdict is Verdict.WAIT


def test_an_empty_folder_waits(tmp_path: Path) -> None:
    """A new folder that nothing was copied into yet is neither a job nor a batch nor a mistake."""
    (tmp_path / "new folder").mkdir()
    seen = Desk(tmp_path / "new folder").at(100.0)
    assert seen.verdict is Verdict.WAIT
    assert seen.found.missing


def test_a_hundred_thousand_files_are_not_walked(tmp_path: Path) -> None:
    """The walk stops at its limit and refuses the folder."""
    folder = tmp_path / "flood"
    folder.mkdir()
    for number in range(600):
        (folder / f"{number}.png").touch()
    desk = Desk(folder)
    desk.config = load_config(root=tmp_path, limits={"max_files": 100}, intake={"settle_s": 0.0})
    refused = desk.at(100.0)
    assert refused.failure is not None
    assert refused.failure.code == "INPUT_TOO_LARGE"
