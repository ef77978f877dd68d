"""Names for jobs that were given none: `adjective-noun-NNNN`, a pure function of the id."""

_ADJECTIVES = (
    "able amber ample ancient apt azure bold brave bright brisk calm candid clear clever cool crisp curious daring "
    "deep deft eager early elegant even fair fancy fast fine firm fond free fresh gentle glad golden grand green "
    "happy hardy hidden honest humble ideal jolly keen kind large late light lively lucid lucky lunar mellow merry "
    "mild modest neat nimble noble novel odd open patient plain polite proud quick quiet rapid rare ready red rich "
    "robust rosy round royal safe serene sharp shiny silent silver simple sleek smart smooth snug solar solid spare "
    "stable steady still stout strong subtle sunny super sure swift tender tidy tough true upper urban vast velvet "
    "vivid warm wide wild wise witty young zesty"
).split()
_NOUNS = (
    "acorn anchor apple arch aspen atlas badger bamboo bay beacon beech birch bison bloom breeze bridge brook "
    "canyon castle cedar cliff cloud clover cobalt comet coral cove crane creek crest crystal dawn delta desert "
    "dune eagle elm ember falcon fern field fjord flame forest fox garden glacier glade grove gull harbor hawk "
    "hazel heron hill horizon island ivy jade juniper kestrel lagoon lake lantern lark laurel leaf lichen lily "
    "lotus lynx maple marsh meadow meteor mist moon moss mountain nebula oak oasis ocean orbit orchid otter owl "
    "peak pebble pine planet plain pond poplar prairie quartz rain raven reef ridge river robin sage salmon sparrow "
    "spring spruce star stone stream summit sun swan thistle thunder tide trail tulip valley violet walnut wave "
    "willow wind wolf wren"
).split()
_MIX = 0x9E3779B97F4A7C15  # 2**64 / golden ratio (Knuth's multiplicative hash): neighbours get unlike names
_MASK = (1 << 64) - 1


def generated_name(job_id: int) -> str:
    """`elegant-mountain-1234`: always the same for one id, and unlike for neighbouring ids."""
    mixed = (job_id * _MIX) & _MASK
    mixed ^= mixed >> 31
    number, rest = mixed % 9000 + 1000, mixed // 9000
    adjective, rest = rest % len(_ADJECTIVES), rest // len(_ADJECTIVES)
    return f"{_ADJECTIVES[adjective]}-{_NOUNS[rest % len(_NOUNS)]}-{number}"
