"""The words of the story world: who may live in it, where, and with which things. All lists are our own."""

# The cast: in this world every fox is Rufus. A name that means somebody is learned, and held on to through a story, far
# sooner than one of many that mean nothing.
CAST = dict(row.split(":") for row in """
fox:Rufus mouse:Tilly rabbit:Poppy bear:Bruno owl:Hugo frog:Finn duck:Daisy hedgehog:Hazel squirrel:Max badger:Basil
mole:Ned otter:Otto kitten:Luna puppy:Toby lamb:Lily goat:Greta pony:Penny pig:Percy turtle:Theo snail:Mabel
beetle:Boris ant:Anna bee:Bella sparrow:Pip penguin:Olive seal:Stella elephant:Emil lion:Leo tiger:Ruby monkey:Milo
giraffe:Zelda dragon:Dexter wolf:Willow deer:Fern bat:Linus crab:Clara donkey:Dora goose:Rosie lizard:Gus beaver:Ben
panda:Mia hamster:Archie parrot:Pepper camel:Casper swan:Pearl cat:Molly dog:Oscar horse:Henry chicken:Rita
dinosaur:Rory unicorn:Ivy whale:Wanda girl:Ella boy:Tom robot:Juno elf:Felix giant:Jasper farmer:Flora baker:Sam
sailor:Jack gardener:Maya painter:Lola princess:Nina prince:Simon""".split())
# Names that a user may state instead, beside those of the rest of the cast, and what to make one up of.
OTHER_HE = """Adam Alex Arlo Barney Billy Bob Charlie Dan David Eddie Freddy George Harry Jim Joe John Karl Kasper
Louis Mark Nico Oliver Paul Peter Rex Robin Snowy Spike Ted Tim Tiny Victor Walter Ziggy""".split()
OTHER_SHE = """Alice Amy Betty Bonnie Coco Dolly Emma Eva Ginger Grace Honey Jane Julia Kate Katie Kiki Lisa Lucy Mary
Mimi Misty Nora Pixie Rose Sally Sara Sophie Sunny Susie Tina Violet Vera Whiskers Zoe""".split()
SYLLABLES = """ba bel bo da del dor fa fen fi go gus ka kel ki la lin lo ma mel mi mo na nel no pa pi quin ra ri ro sa
sel ta ti to va vi wo za zo""".split()
ENDINGS = "bert la lo mo na nix ra rik ron ta ty us vin zo".split()

HE = set("""Rufus Bruno Hugo Finn Max Basil Ned Otto Toby Percy Theo Boris Pip Emil Leo Milo Dexter Linus Gus Ben
Archie Pepper Casper Oscar Henry Rory Tom Felix Jasper Sam Jack Simon""".split())

TRAITS = """little small kind brave shy curious clever cheerful gentle lazy young quiet friendly silly careful hungry proud
playful sleepy merry lonely patient grumpy busy polite dreamy tiny bold honest thoughtful""".split()
HELPER_TRAITS = """old wise kind tall strong clever gentle friendly young funny calm quick jolly quiet small patient helpful
cheerful plump tidy""".split()

SIZES = "little tiny small cosy crooked snug round pretty old warm narrow neat wooden quiet".split()
HOUSES = "house cottage burrow hut den cabin tower barn room nest cave mill tent boat".split()
LANDMARKS = """river forest lake hill meadow pond sea mountain orchard village mill bridge garden stream field market farm
valley beach wood castle harbour waterfall road windmill""".split()
NEAR = ["by", "near", "beside", "at the edge of", "not far from", "next to", "behind", "close to", "on the other side of"]

# A setting: its name, and what one may see there.
PLACES = {
    "forest": "tall trees", "meadow": "wild flowers", "park": "green lawns", "garden": "rows of beans", "beach": "white sand",
    "village": "narrow streets", "market": "busy stalls", "orchard": "apple trees", "valley": "quiet farms",
    "lake": "blue water", "river": "smooth stones", "hill": "soft grass", "farm": "red barns", "wood": "old oaks",
    "field": "golden wheat", "pond": "green reeds", "harbour": "fishing boats", "mountain": "grey rocks",
    "castle": "stone walls", "town": "bright windows", "island": "palm trees", "marsh": "tall rushes",
}
AT = {"park": "in", "garden": "in", "forest": "in", "meadow": "in", "village": "in", "orchard": "in", "valley": "in",
      "wood": "in", "field": "in", "town": "in", "castle": "in", "marsh": "in", "hill": "on", "farm": "on", "beach": "on",
      "mountain": "on", "island": "on", "market": "at", "lake": "at", "river": "at", "pond": "at", "harbour": "at"}

SPOT_ADJ = """old mossy wooden broken hollow big little round dusty empty green crooked wide prickly muddy tall grey thick
stony""".split()
LOW_SPOTS = """under:bench,log,stone,bush,bridge,cart,leaf,fern,table,hedge,barrel,stump
behind:fence,rock,door,barrel,tree,wall,shed,log,stump,hedge,pump,gate
beside:well,path,stream,gate,puddle,stump,rock,wall,pond,tree,ditch
in:ditch,bush,hole,puddle,basket,bucket,nettle patch,heap of leaves,clump of grass,pile of straw,flower bed
between two:stones,roots,logs,rocks,bushes,barrels,walls""".splitlines()
HIGH_SPOTS = """at the top of:tree,oak,pine,elm,tower,wall,roof,chimney,pole
on a branch of:oak,pine,apple tree,elm,willow,plum tree,birch
on the roof of:barn,shed,mill,house,tower,bakery,stable
on the edge of:cliff,roof,rock,tower,wall""".splitlines()

COLOURS = "red blue green yellow silver golden white black orange purple brown pink striped spotted shiny".split()
LOOKS = "old new small big pretty plain bright smooth painted wooden round strong light fine lovely".split()

# noun: kinds of thing it is (l light, s shiny, r round, n makes a noise, v seen from afar) | what one does with it |
# how it breaks | how it is mended
OBJECTS = {
    "kite": "lv|fly it above the hill|its thin frame snapped|tied the frame together with string",
    "ball": "r|kick it along the path|a sharp thorn made a hole in it|stuck a patch over the hole",
    "key": "s|open the old chest|it bent in a stiff lock|warmed it and made it straight again",
    "lantern": "sv|light the way at night|its glass cracked|put in a new piece of glass",
    "drum": "n|play a marching song|its skin split|stretched a new skin over the top",
    "bell": "sn|ring it at supper time|its handle came off|screwed the handle back on",
    "boat": "|sail it across the pond|its mast broke|made a new mast from a straight twig",
    "scarf": "lv|wrap it around three times|a long thread came loose|knitted the loose thread back in",
    "hat": "l|wear it on rainy days|its brim tore|sewed the brim with tiny stitches",
    "blanket": "|snuggle under it at night|a corner ripped|sewed a bright patch on the corner",
    "book": "|read it under a tree|some pages fell out|glued every page back in its place",
    "map": "l|find secret paths|it tore in two|joined the two halves with paste",
    "whistle": "sn|whistle a tune|the little pea inside got stuck|shook the pea free and cleaned it",
    "flute": "n|play a slow song|a crack ran down its side|closed the crack with wax",
    "basket": "|carry berries home|its bottom fell out|wove a new bottom from reeds",
    "bucket": "|build castles of sand|its handle broke|made a handle from rope",
    "spoon": "s|stir the soup|it snapped in half|bound the halves with copper wire",
    "teapot": "|make mint tea|its spout chipped|glued the chip back on",
    "cup": "|drink warm milk from it|its handle broke off|glued the handle back on",
    "button": "sr|wear it on a coat|it cracked in two|glued the two halves together",
    "ring": "sr|wear it on special days|the stone fell out of it|set the stone back in its place",
    "coin": "sr|look at it by the fire|it got bent under a wheel|hammered it flat again",
    "shell": "|listen to the sea in it|a piece broke off|stuck the piece on with glue",
    "stone": "r|skip games and count with it|it split down the middle|pressed it together with clay",
    "feather": "lv|draw letters with it|it got wet and bent|dried it softly by the fire",
    "doll": "|have tea with it|its arm came off|sewed the arm on again",
    "puppet": "|put on a show with it|its strings got torn|tied new strings to it",
    "top": "r|spin it on the floor|its tip wore away|carved a new tip for it",
    "marble": "sr|roll it down the steps|it got a nasty chip|polished it until it was smooth",
    "umbrella": "v|walk in the rain|the wind bent its ribs|bent the ribs back one by one",
    "mitten": "l|keep warm in the snow|its thumb tore|darned the thumb with wool",
    "boot": "|jump in puddles|its sole came loose|nailed the sole back on",
    "balloon": "lv|watch it dance in the air|its string came off|tied on a longer string",
    "cart": "|pull it to the market|a wheel came off|pushed the wheel back with a new pin",
    "wagon": "|ride down the lane|its axle broke|cut a new axle from ash wood",
    "sled": "|slide down the snowy hill|a runner split|tied the runner up with rope",
    "clock": "s|tell the time for everyone|its spring stopped|oiled the spring and wound it up",
    "compass": "s|find the way north|its needle got stuck|tapped the needle free",
    "mirror": "sv|make funny faces|its frame came apart|put the frame together with pegs",
    "paintbrush": "|paint pictures of birds|its hairs fell out|tied new hairs to the handle",
    "pencil": "|draw funny faces|its point broke|sharpened it with a little knife",
    "crown": "s|play at kings and queens|one of its points broke|fixed the point with a drop of tin",
    "necklace": "s|wear it to parties|its thread broke and the beads rolled away|put every bead on a new thread",
    "ribbon": "lv|tie it in a bow|it ripped in the middle|stitched it with silver thread",
    "box": "|keep secrets in it|its lid came off|fixed the lid with two new hinges",
    "jar": "|catch fireflies in it|its lid cracked|made a new lid of cork",
    "violin": "n|play for the birds|a string broke|put on a new string",
    "trumpet": "sn|play loud happy notes|it got a big dent|pushed the dent out with a stick",
    "telescope": "s|look at the stars|its glass came loose|fitted the glass back in",
    "train": "|run it around the room|a wheel broke off|made a new wheel from a cork",
    "candle": "v|read by its light|it broke in the middle|melted the two ends together",
    "pillow": "|rest on it and dream|its seam burst|stuffed it and sewed it shut",
    "pinwheel": "lv|watch it spin in the wind|its pin fell out|fixed it with a new pin",
    "bag": "|carry nuts and apples|its strap snapped|sewed on a leather strap",
    "horseshoe": "s|hang it over the door|a nail fell out and it cracked|mended it over a hot fire",
    "spade": "|dig in the garden|its handle snapped|carved a fine new handle",
    "chair": "|sit in the sun|a leg came off|glued the leg and tied it tight",
    "flag": "lv|wave it from the roof|the storm tore it|sewed it with strong thread",
    "fan": "l|keep cool in summer|one of its folds tore|pasted fresh paper over the tear",
    "watering can": "|water the flowers|its bottom rusted through|covered the hole with a tin patch",
    "rope": "|swing from the old tree|it frayed and broke|tied it with a strong knot",
    "guitar": "n|sing by the fire|its neck came loose|glued the neck and tuned the strings",
}
GIVERS = """mother father grandmother grandfather aunt uncle brother sister cousin teacher neighbour godmother""".split()
