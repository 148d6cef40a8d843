"""Strength over a run."""

from __future__ import annotations

import pytest

from hypernet.schedule import Course, Moment, Schedule


def along(schedule: Schedule, steps: int) -> list[float]:
    return [round(schedule.at(Moment(step, steps)), 6) for step in range(steps)]


def test_the_first_step_is_position_0_and_the_last_is_position_1() -> None:
    assert along(Schedule(((0, 0), (1, 1))), 5) == [0, 0.25, 0.5, 0.75, 1]


def test_it_is_constant_before_the_first_point_and_after_the_last() -> None:
    assert along(Schedule(((0.2, 0.25), (1, 0.75))), 5) == [0.2, 0.2, 0.6, 1, 1]


def test_a_position_over_1_counts_steps_done() -> None:
    assert along(Schedule(((0, 2), (1, 4))), 6) == [0, 0, 0, 0.5, 1, 1]


def test_points_may_come_in_any_order() -> None:
    assert along(Schedule(((1, 1), (0, 0))), 3) == [0, 0.5, 1]


def test_two_points_at_one_position_are_a_jump() -> None:
    assert along(Schedule(((0, 0), (0, 0.5), (1, 0.5), (1, 1))), 5) == [0, 0, 1, 1, 1]


def test_a_run_of_one_step_is_at_its_beginning() -> None:
    assert along(Schedule(((0.3, 0), (1, 1))), 1) == [0.3]


def test_a_point_after_the_last_step_is_never_reached() -> None:
    assert along(Schedule(((0, 0), (1, 20))), 3) == [0, 0.05, 0.1]


@pytest.mark.parametrize(
    ("course", "steps", "active"),
    [
        (Course(Schedule.constant(1)), 4, [0, 1, 2, 3]),
        (Course(Schedule.constant(1), start=0.5), 4, [2, 3]),
        (Course(Schedule.constant(1), stop=0.5), 4, [0, 1]),
        (Course(Schedule.constant(1), start=2), 4, [2, 3]),
        (Course(Schedule.constant(1), stop=3), 4, [0, 1, 2]),
        (Course(Schedule.constant(1), start=0.25, stop=0.75), 9, [2, 3, 4, 5]),
        (Course(Schedule.constant(1), stop=40), 3, [0, 1, 2]),
        (Course(Schedule.constant(1), start=0.6, stop=0.4), 9, []),
    ],
)
def test_start_and_stop(course: Course, steps: int, active: list[int]) -> None:
    assert [step for step in range(steps) if course.at(Moment(step, steps))] == active


@pytest.mark.parametrize("steps", range(1, 12))
@pytest.mark.parametrize("position", [0, 0.3, 0.5, 0.9, 5])
def test_stop_of_one_and_start_of_the_next_share_every_step_out(steps: int, position: float) -> None:
    before, after = Course(Schedule.constant(1), stop=position), Course(Schedule.constant(1), start=position)
    for step in range(steps):
        assert before.at(Moment(step, steps)) + after.at(Moment(step, steps)) == 1
