"""Workflows that are listed, filters that list them, and filters that are refused."""

import asyncio
from datetime import UTC, datetime

from temporalio import workflow
from temporalio.common import SearchAttributeKey as Key
from temporalio.common import SearchAttributePair as Pair
from temporalio.common import TypedSearchAttributes
from temporalio.exceptions import ApplicationError

QUEUE = "visibility"


@workflow.defn
class Order:
    @workflow.run
    async def run(self, what: str) -> str:
        if what == "fail":
            raise ApplicationError("on purpose")
        if what == "wait":
            await workflow.sleep(1000)
        if what == "parent":
            await workflow.execute_child_workflow(Order.run, "done", id="o6-child")
        return what


ATTRIBUTES = {
    "Num": "Int",
    "Dbl": "Double",
    "Flag": "Bool",
    "CustomKey": "Keyword",
    "Txt": "Text",
    "KL": "KeywordList",
    "Due": "Datetime",
}


def attributes(number, double, flag, key, text, keys, month):
    values = [
        Pair(Key.for_int("Num"), number),
        Pair(Key.for_float("Dbl"), double),
        Pair(Key.for_bool("Flag"), flag),
        Pair(Key.for_keyword("CustomKey"), key),
        Pair(Key.for_text("Txt"), text),
        Pair(Key.for_keyword_list("KL"), keys),
        Pair(Key.for_datetime("Due"), datetime(2026, month, 1, tzinfo=UTC)),
    ]
    return TypedSearchAttributes(values)


ORDERS = {
    "o1": ("done", attributes(1, 1.5, True, "a", "hello world", ["x", "y"], 6)),
    "o2": ("fail", attributes(2, 2.0, False, "b", "Hello, there", ["y"], 7)),
    "o3": ("wait", attributes(3, 3.5, True, "c", "world", ["z"], 8)),
    "o4": ("wait", TypedSearchAttributes.empty),
    "p5": ("done", TypedSearchAttributes.empty),
    "o6": ("parent", TypedSearchAttributes.empty),
}

FILTERS = """
WorkflowId = 'o1'
WorkflowId != 'o1'
WorkflowId <> 'o1'
WorkflowId STARTS_WITH 'o'
WorkflowId NOT STARTS_WITH 'o'
WorkflowId STARTS_WITH ''
WorkflowId STARTS_WITH 5
WorkflowId BETWEEN 'o1' AND 'o2'
WorkflowId IN ('o1', "o2")
WorkflowId IN (1)
WorkflowId IN ()
WorkflowId IN 'o1'
WorkflowId NOT IN ('o1', 'o2')
WorkflowId = 'it''s'
WorkflowId = 'o1';
WorkflowId = 1
WorkflowId = o1
WorkflowId = NULL
WorkflowId =
WorkflowId
WorkflowId = 'o1' AND
AND WorkflowId = 'o1'
WorkflowId = 'o1' WorkflowType = 'Order'
WorkflowId REGEXP 'o'
WorkflowId LIKE 'o%'
WorkflowId NOT LIKE 'o%'
WorkflowId IS TRUE
WorkflowId = 'o1' ORDER BY StartTime
ORDER BY StartTime DESC
WorkflowId = 'o1' LIMIT 1
WorkflowId = 'o1' GROUP BY ExecutionStatus
workflowid = 'o1'
`WorkflowId` = 'o1'
(WorkflowId = 'o1'
= 1
1 = 1
'o1' = WorkflowId
Num + 1 = 2
func(Num) = 1
select * from t
Nope = 1
Num = 1 AND Nope = 2
Order = 1
WorkflowType = 'Order' AND ExecutionStatus = 'Running'
ExecutionStatus = 'Completed' OR ExecutionStatus = 'Failed'
ExecutionStatus IN ('Completed', 'Failed')
ExecutionStatus IN ('Running', 'Nope')
ExecutionStatus NOT IN ('Completed')
ExecutionStatus = 1
ExecutionStatus = 99
ExecutionStatus = true
ExecutionStatus = 'running'
ExecutionStatus = 'TimedOut'
ExecutionStatus > 'Running'
ExecutionStatus STARTS_WITH 'R'
ExecutionStatus BETWEEN 'Running' AND 'Failed'
NOT WorkflowId = 'o1'
NOT (Num = 1 OR Flag = true)
NOT Flag
NOT Num > 1
Num
Num > 1
Num >1 and(Num<3)
Num > 1 && Num < 3
Num > 1 || Num < 0
Num => 1
Num == 1
Num BETWEEN 1 AND 2
Num NOT BETWEEN 1 AND 2
Num BETWEEN 'a' AND 2
Num IN (1, 3)
Num IN (1, 'a')
Num NOT IN (1)
Num IS NULL
Num IS NOT NULL
Num IS NULL OR Num = 1
Num = 'a'
Num = '2'
Num = true
Num = 2.5
Num = 1e0
Num = 1.
Num = .5
Num = -1
Num > -1
Num = Num
Num < 2 AND
Num STARTS_WITH 1
Num = 'unclosed
Num = 1 -- a comment
Num = 1 /* a comment */
Dbl >= 1.5
Dbl = 2
Dbl IN (1.5, 2)
Dbl = '1'
Flag = true
Flag = false
Flag != true
Flag > true
Flag IN (true, false)
Flag IS NULL
Flag = 'true'
Flag = 1
CustomKey = 'b'
CustomKey = "b"
CustomKey > 'a'
CustomKey = ''
CustomKey = 5
Txt = 'hello'
Txt = 'world'
Txt = 'hello world'
Txt != 'hello'
Txt = 'hel'
Txt = ''
Txt IS NULL
Txt IN ('hello')
Txt NOT IN ('hello')
Txt > 'a'
Txt STARTS_WITH 'h'
Txt BETWEEN 'a' AND 'b'
KL = 'x'
KL != 'x'
KL IN ('x', 'z')
KL NOT IN ('x')
KL IS NULL
KL > 'a'
KL STARTS_WITH 'x'
KL BETWEEN 'a' AND 'b'
Due > '2026-06-15T00:00:00Z'
Due = '2026-06-02T00:00:00Z'
Due BETWEEN '2026-05-31T00:00:00Z' AND '2026-06-30T00:00:00Z'
Due < '2026-07-01T02:00:00+02:00'
Due IN ('2026-08-02T00:00:00.000Z')
Due > 'x'
Due > '2026'
Due > '2026-01-01'
Due > '2026-01-01 00:00:00'
Due > 1.5
Due = true
StartTime < '2050-01-01T00:00:00Z'
StartTime > 0
CloseTime IS NULL
CloseTime is not null
CloseTime != '2026-01-01T00:00:00Z'
ExecutionTime > '2020-01-01T00:00:00Z'
ExecutionDuration < 60000000000
ExecutionDuration < '60s'
ExecutionDuration < '00:01:00'
ExecutionDuration < '1d'
ExecutionDuration > 'x'
ExecutionDuration = 1.5
HistoryLength = 5
TaskQueue = 'visibility'
RunId != 'x'
ParentWorkflowId IS NULL
ParentWorkflowId = 'o6'
RootWorkflowId = 'o6'
TemporalScheduledById IS NULL
TemporalSchedulePaused = true
TemporalChangeVersion IS NULL
ChangeVersion IS NULL
WorkflowId = 'o1' OR WorkflowId = 'o2' AND Num = 1
(WorkflowId = 'o1' OR WorkflowId = 'o2') AND Num = 1
""".strip().splitlines()

COUNTS = """
GROUP BY ExecutionStatus
WorkflowType = 'Order' GROUP BY ExecutionStatus
GROUP BY WorkflowType
GROUP BY ExecutionStatus, WorkflowType
GROUP BY CustomKey
group by Nope
Num > 1
Num > 1 ORDER BY StartTime
""".strip().splitlines()


async def play(client):
    """Start and end workflows; tell what each filter lists and counts, or why it is refused."""
    for id, (what, held) in ORDERS.items():
        await client.start_workflow(Order.run, what, id=id, task_queue=QUEUE, search_attributes=held)
        await asyncio.sleep(0.5)
    await client.get_workflow_handle("o4").terminate()
    await asyncio.sleep(2)
    lists = {query: await outcome(listed(client, query)) for query in ("", *FILTERS)}
    counts = {query: await outcome(counted(client, query)) for query in ("", *COUNTS)}
    return lists, counts


async def outcome(answer):
    try:
        return await answer
    except Exception as error:
        return str(error), error.status.name


async def listed(client, query):
    return [one.id async for one in client.list_workflows(query, page_size=2)]


async def counted(client, query):
    told = await client.count_workflows(query or None)
    return told.count, [(list(one.group_values), one.count) for one in told.groups]
