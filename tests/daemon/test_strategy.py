"""`daemon.gpu_allocation_strategy` as the daemon acts on it."""

from support.house import House

JOBS = 24


async def given(house):
    """The GPUs that one job after the other is given."""
    found = []
    for _ in range(JOBS):
        job_id = await house.start(gpus=1)
        (index,) = house.engine.job(job_id).gpu_ids
        found.append(index)
        await house.end(job_id)
    return found


async def test_sequential_is_the_default_and_always_the_lowest(tmp_path):
    async with House(tmp_path, simulated_gpus=8) as house:
        assert await given(house) == [0] * JOBS


async def test_random_is_by_chance(tmp_path):
    """That all of them are the same happens once in 10**20 times."""
    async with House(tmp_path, simulated_gpus=8, gpu_allocation_strategy="random") as house:
        assert len(set(await given(house))) > 1
