from events.all_rows import values
from events.statements import on_postgresql


def test_rows_of_any_count_take_few_statements_that_are_little_longer() -> None:
    statements = set()
    for count in range(1, 513):
        statement, parameters = values([(row, "x") for row in range(count)])
        statements.add(statement)
        assert parameters[: 2 * count] == [each for row in range(count) for each in (row, "x")]
        assert set(parameters[2 * count :]) <= {None}
        assert 2 * count <= len(parameters) < 2.5 * count
    assert len(statements) == 512 if on_postgresql() else len(statements) < 40
