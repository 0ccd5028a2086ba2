"""Phrases of which a story takes one and keeps it: what bars the way, what tempts, what goes wrong, what is untrue."""

# what bars the way | how it is passed
BARRIERS = """
the bridge was broken|they made a raft of logs
the river was too deep|they crossed on a line of stones
the path was under water|they paddled in a big wooden tub
a big rock lay on the path|they dug a tunnel under the rock
a tree had fallen on the road|they climbed over the tree
the snow was too deep|they made snow shoes from bark
the night was as black as ink|they followed the brightest star
the fog was thick and white|they held a long string between them
a grumpy bull stood in the way|they sang the bull to sleep
a loud dog barked at the gate|they gave the dog a bone
the hill was covered in ice|they put sand on the ice
the gate was locked|they crawled through a hole in the hedge
a deep ditch crossed the road|they laid a plank over the ditch
a swarm of wasps was on the path|they walked around the wasps
the wind was too strong|they tied themselves together
""".strip().splitlines()
LURES = """a white butterfly;a blue dragonfly;a tiny lizard;a trail of feathers;a strange song;a rolling pumpkin;
a golden beetle;a row of ants;a red balloon;a funny cloud;a sweet smell;a line of footprints;a flying leaf;
a hopping frog;a singing bird;a little light;a spotted moth;a lost lamb;
a trail of berries;a wandering cat""".replace("\n", "").split(";")
MISHAPS = """{he} fell on {his} nose;the {obj} fell down;{he} landed in a puddle;everybody laughed;it went wrong;
the {obj} slipped away;a duck laughed at {him};{he} bumped into a post;{he} got it all tangled up;{he} hit {his} toe;
{his} hat fell off;it was a mess""".replace("\n", "").split(";")
LIES = """A thief took it;The wind blew it away;I never had it;It fell into the river;A dog ran off with it;
I gave it back to you;My cousin has it;A bird took it;It was broken before""".replace("\n", "").split(";")
BAKED = """it burned;it fell on the floor;the cat ate it;it tasted of soap;there was no flour left;
the ants got it first;it was hard as stone;the fire went out;{he} ate it all""".replace("\n", "").split(";")
FLOWERS = """a goat ate them;they lost their leaves;the wind took them;it began to rain;a bee chased {him} away;
they made {him} sneeze;they were all dry""".replace("\n", "").split(";")
